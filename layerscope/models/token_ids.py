"""Compare the ids of two tokenizers, and check that ids fit the embedding of a model.

Independent of files and models: the number of rows of an embedding is an argument.
"""

from collections.abc import Callable, Iterable
from typing import Any, Protocol, runtime_checkable

from tokenizers import Tokenizer

from layerscope.errors import ModelError, TextsError
from layerscope.models.tokenizer_trial import AWKWARD_TEXTS
from layerscope.texts.tokenizer_errors import translate_tokenizer_errors

__all__ = ["Encode", "TokenizerLike", "check_tokenizer", "describe_id_difference", "encoder", "file_encoder"]

_SAMPLE = 64  # tokens of the vocabulary that are tried as texts
_SHOWN = 5  # ids in a message


@runtime_checkable
class TokenizerLike(Protocol):
    """A tokenizer of transformers."""

    def get_vocab(self) -> dict[str, int]:
        """Return the id of each token."""
        ...

    def convert_ids_to_tokens(self, ids: int) -> str:
        """Return the token of an id."""
        ...


Encode = Callable[[str], list[int] | None]
"""Returns the ids of a text, or None if the tokenizer fails."""


def encoder(tokenizer: Any) -> Encode:
    """Return a function from a text to its ids, or to None if the tokenizer fails."""

    def encode(text: str) -> list[int] | None:
        try:
            with translate_tokenizer_errors("a text"):
                return list(tokenizer(text, padding=False, truncation=False, verbose=False)["input_ids"])
        except TextsError:  # failures are compared too
            return None

    return encode


def file_encoder(written: Tokenizer) -> Encode:
    """Return the same function for a ``tokenizer.json`` that was read directly."""
    written.no_truncation()  # the capture sets the length, not the file
    written.no_padding()

    def encode(text: str) -> list[int] | None:
        try:
            with translate_tokenizer_errors("a text"):
                return list(written.encode(text).ids)
        except TextsError:  # failures are compared too
            return None

    return encode


def describe_id_difference(one: Encode, other: Encode, texts: Iterable[str]) -> str:
    """Describe the first text on which two tokenizers differ, with their ids; an empty string if they agree.

    Examples
    --------
    >>> describe_id_difference(lambda text: [1, 2, 3], lambda text: [1, 3], ["so"])
    "(for 'so' […, 2, 3], not […, 3])"
    """
    for text in texts:
        here, there = one(text), other(text)
        if here != there:
            shown = text if len(text) <= 40 else f"{text[:40]}…"
            return f"(for {shown!r} {_from_difference(here, there)}, not {_from_difference(there, here)})"
    return ""


def _from_difference(ids: list[int] | None, others: list[int] | None) -> str:
    """Format some of the ids, from the first that differs."""
    if ids is None:
        return "an error"
    pairs = enumerate(zip(ids, others or [], strict=False))
    start = next((at for at, (here, there) in pairs if here != there), min(len(ids), len(others or [])))
    shown = map(str, ids[start : start + _SHOWN])
    return f"[{'…, ' if start else ''}{', '.join(shown)}{', …' if start + _SHOWN < len(ids) else ''}]"


def check_tokenizer(tokenizer: Any, rows: int, name: str) -> None:
    """Check that a tokenizer fits a model with `rows` rows in its embedding.

    The vocabulary must have more than special tokens, not every text may be unknown, and all ids of ordinary text must be below
    `rows`. A special token beyond the rows is allowed unless it is added to every text, since some published models have one for
    unused features (images, padding). A text that contains it is refused when it is tokenized.

    Raises
    ------
    ModelError
        One of these does not hold.

    Examples
    --------
    >>> from tokenizers import Tokenizer, models
    >>> from transformers import PreTrainedTokenizerFast
    >>> words = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"so": 0, "it": 1}, unk_token="so")))
    >>> check_tokenizer(words, 2, "tiny")
    >>> check_tokenizer(words, 1, "tiny")
    Traceback (most recent call last):
        ...
    layerscope.errors.ModelError: tiny: the tokenizer gives the id 1 ('it'), and the model's embedding has 1 rows: it is the
    tokenizer of another model
    """
    vocabulary = _ordinary(tokenizer)
    if not vocabulary:
        raise ModelError(f"{name}: the tokenizer's vocabulary is empty: give the checkpoint its own tokenizer files")
    around = encoder(tokenizer)("") or []  # of special tokens, those that every text gets
    highest = max([*vocabulary.values(), *around])
    if highest >= rows:
        token = tokenizer.convert_ids_to_tokens(highest)
        raise ModelError(
            f"{name}: the tokenizer gives the id {highest} ({token!r}), and the model's embedding has {rows} rows: "
            "it is the tokenizer of another model"
        )
    if _only_unknown(tokenizer, vocabulary):
        raise ModelError(
            f"{name}: the tokenizer gives only unknown tokens: give the checkpoint its own tokenizer files"
        )


def _ordinary(tokenizer: Any) -> dict[str, int]:
    """Return the vocabulary without special tokens."""
    special = {str(token) for token in tokenizer.all_special_tokens}
    if tokenizer.is_fast:
        added = tokenizer.backend_tokenizer.get_added_tokens_decoder().values()
        special |= {token.content for token in added if token.special}
    return {token: number for token, number in tokenizer.get_vocab().items() if token not in special}


def _only_unknown(tokenizer: Any, vocabulary: dict[str, int]) -> bool:
    unknown = tokenizer.unk_token_id
    if unknown is None:
        return False
    encode = encoder(tokenizer)
    special = {unknown, *tokenizer.all_special_ids}
    sample = list(vocabulary)[:: max(1, len(vocabulary) // _SAMPLE)]
    return all(set(encode(text) or [unknown]) <= special for text in (*AWKWARD_TEXTS, *sample))
