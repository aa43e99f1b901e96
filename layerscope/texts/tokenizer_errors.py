"""Translate the errors of the tokenizers library into one line with a remedy."""

from collections.abc import Iterator
from contextlib import contextmanager

from layerscope.errors import LayerScopeError, TextsError
from layerscope.panics import is_panic, without_panic_text

__all__ = ["quote_start", "translate_tokenizer_errors"]

_SHOWN = 160  # characters of a library's message
_BEGINNING = 40  # characters of a text in a message


@contextmanager
def translate_tokenizer_errors(what: str, remedy: str = "leave it out") -> Iterator[None]:
    """Translate every error of a tokenizer into a TextsError, including panics of its library.

    Parameters
    ----------
    what
        The text, for the message.
    remedy
        What the user can do, for the message.

    Examples
    --------
    >>> with translate_tokenizer_errors("the text 't1'"):
    ...     raise ValueError("the word is unknown")
    Traceback (most recent call last):
    layerscope.errors.TextsError: the tokenizer fails on the text 't1' (ValueError: the word is unknown): leave it out
    """
    try:
        with without_panic_text():
            yield
    except LayerScopeError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:_SHOWN]}"
        raise TextsError(f"the tokenizer fails on {what} ({said}): {remedy}") from error


def quote_start(text: str) -> str:
    """Return the start of a text, quoted, for a message.

    Examples
    --------
    >>> print(quote_start("the river rose"), quote_start("x" * 41))
    'the river rose' 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…'
    """
    return repr(text if len(text) <= _BEGINNING else f"{text[:_BEGINNING]}…")
