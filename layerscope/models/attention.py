"""The implementations of attention that transformers offers, by the names of the command line.

They compute the same function with different rounding.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

from layerscope.errors import ModelError, unknown_name

__all__ = ["Attention", "attention_explained", "attention_option"]

Attention = Literal["sdpa", "flash", "eager"]
"""``sdpa`` is torch's fused attention, ``flash`` the flash-attn library, ``eager`` plain matrix products."""

_OF_TRANSFORMERS = {"sdpa": "sdpa", "flash": "flash_attention_2", "eager": "eager"}


def attention_option(attn: Attention | None) -> dict[str, str]:
    """Return the option of ``from_pretrained``; none for the model's own choice.

    Raises
    ------
    UsageError
        The name is unknown.

    Examples
    --------
    >>> attention_option("flash"), attention_option(None)
    ({'attn_implementation': 'flash_attention_2'}, {})
    """
    if attn is None:
        return {}
    if attn not in _OF_TRANSFORMERS:
        raise unknown_name("attention", attn, get_args(Attention))
    return {"attn_implementation": _OF_TRANSFORMERS[attn]}


@contextmanager
def attention_explained(attn: Attention | None, name: str) -> Iterator[None]:
    """Explain that a model or this machine lacks an implementation of attention."""
    try:
        yield
    except (ImportError, ValueError) as error:
        if attn is None or "attention" not in str(error).lower():
            raise
        reason = " ".join(str(error).split())
        raise ModelError(f"{name}: no --attn {attn} here: {reason[:200]}\nleave it out, or give another") from error
