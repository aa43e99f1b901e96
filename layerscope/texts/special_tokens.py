"""Separate a text from the special tokens that a tokenizer adds around it.

A text to be continued keeps the tokens before it and loses those after it: after an end token a model starts another text.
Independent of models.
"""

from contextlib import suppress
from typing import Any

from layerscope.errors import TextsError
from layerscope.texts.tokenizer_errors import quote_start, translate_tokenizer_errors

__all__ = ["appended_tokens", "encode_open", "prepended_tokens"]

_PROBES = ("a", "0", "the")  # a vocabulary of whole words may lack one of them


def encode_open(tokenizer: Any, text: str) -> list[int]:
    """Return the ids of a text to be continued, without the tokens that the tokenizer appends.

    Special tokens in the text itself stay.
    """
    return _parts(tokenizer, text)[0]


def prepended_tokens(tokenizer: Any) -> tuple[int, ...]:
    """Return the tokens that a tokenizer adds before every text."""
    return _around(tokenizer)[0]


def appended_tokens(tokenizer: Any) -> tuple[int, ...]:
    """Return the tokens that a tokenizer adds after every text."""
    return _around(tokenizer)[1]


def _around(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    for probe in _PROBES:
        with suppress(TextsError):
            ids, appended, before = _parts(tokenizer, probe)
            if before < len(ids):
                return tuple(ids[:before]), tuple(appended)
    return (), ()


def _parts(tokenizer: Any, text: str) -> tuple[list[int], list[int], int]:
    """Return the ids without the appended ones, the appended ids, and the number of ids before the text."""
    with translate_tokenizer_errors(f"the text {quote_start(text)}", "give another"):
        encoded = tokenizer(text, return_special_tokens_mask=True, verbose=False)
    ids, added = list(encoded["input_ids"]), list(encoded["special_tokens_mask"])
    before = added.index(0) if 0 in added else len(added)
    end = len(added) - added[::-1].index(0) if 0 in added else len(added)
    return ids[:end], ids[end:], before
