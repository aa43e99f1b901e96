"""Find the characters that each token has read, from the offsets of the tokenizers library.

The offsets of the library differ from that. Its post-processors trim white space; a token for a space that is not in the text
gets the character after it; where two characters are composed into one, the second is lost. Captures of different tokenizers are
aligned where their tokens have read the same text, so the offsets are corrected here.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
from jaxtyping import Int
from tokenizers import processors

__all__ = ["own_characters", "read_characters", "untrimmed"]

_SPACES = frozenset("▁Ġ ")
"""Characters that tokenizers write for a space."""


@contextmanager
def untrimmed(backend: Any) -> Iterator[None]:
    """Keep the post-processor of a `tokenizers.Tokenizer` from trimming white space off the offsets; ids do not change."""
    with ExitStack() as stack:
        for processor in _parts(backend.post_processor):
            if getattr(processor, "trim_offsets", False):
                stack.callback(setattr, processor, "trim_offsets", True)
                processor.trim_offsets = False
        yield


def _parts(processor: Any) -> Iterator[Any]:
    parts: Any = processor
    if isinstance(processor, processors.Sequence):
        for part in parts:
            yield from _parts(part)
    else:
        yield processor


def read_characters(
    text: str, tokens: Sequence[str], offsets: Int[np.ndarray, "token 2"]
) -> Int[np.ndarray, "token 2"]:
    """Return start and end of the characters that each token has read.

    Parameters
    ----------
    text
        The text.
    tokens
        Its tokens in order, spelled as in the vocabulary, without those added by a template.
    offsets
        The offsets of the library, white space included; see `untrimmed`.

    Returns
    -------
    Int[np.ndarray, "token 2"]
        Ascending spans. Each starts where the previous one ends, with two exceptions: the tokenizer may drop characters, and
        tokens that share one character (its bytes, or its normalised form) all have that character. A token that ends inside a
        character which a later token continues has an empty span; the later token has the character. The span of a token for a
        space that is not in the text is empty too.

    Examples
    --------
    >>> read_characters("on it", ["▁", "on", "▁it"], np.array([[0, 1], [0, 2], [2, 5]])).tolist()
    [[0, 0], [0, 2], [2, 5]]
    """
    spans = offsets.copy()
    _add_combining(text, spans)
    if (spans[:-1, 1] > spans[1:, 0]).any():
        _take_apart(tokens, spans)
    return spans


def _add_combining(text: str, spans: Int[np.ndarray, "token 2"]) -> None:
    """Give combining characters without a token to the token of their base character."""
    after = np.append(spans[1:, 0], len(text))
    for end in np.unique(spans[after > spans[:, 1], 1]).tolist():
        stop, longest = end, int(min(after[spans[:, 1] == end].max(), len(text)))
        while 0 < stop < longest and _combines(text[stop - 1], text[stop]):
            stop += 1
        spans[(spans[:, 1] == end) & (spans[:, 0] < end), 1] = stop


def _combines(before: str, character: str) -> bool:
    composed = unicodedata.normalize("NFC", before + character)
    return unicodedata.category(character).startswith("M") or len(composed) == 1


def _take_apart(tokens: Sequence[str], spans: Int[np.ndarray, "token 2"]) -> None:
    """Decide for overlapping tokens, from last to first, which of them has read the characters."""
    following = len(spans) - 1  # the nearest later token with characters
    start, end = spans[following].tolist()
    for row in range(following - 1, -1, -1):
        first, stop = spans[row].tolist()
        if stop <= max(first, start):
            if stop > first:
                following, start, end = row, first, stop
        elif set(tokens[row]) <= _SPACES:
            spans[row, 1] = first
        elif stop == end:
            start = min(start, first)
        else:
            spans[row, 1] = first
            start = spans[following, 0] = min(start, first)


def own_characters(spans: Int[np.ndarray, "token 2"], kept: Int[np.ndarray, " row"]) -> Int[np.ndarray, "token 2"]:
    """Empty the spans of tokens that have read a part of a character whose last part belongs to a token that is not kept.

    Parameters
    ----------
    spans
        The spans of all tokens of a text; see `read_characters`.
    kept
        Indices of the tokens that are kept.

    Returns
    -------
    Int[np.ndarray, "token 2"]
        The spans of all tokens.

    Examples
    --------
    >>> bytes_of_two = np.array([[0, 1], [0, 1], [1, 2], [1, 2]])
    >>> own_characters(bytes_of_two, np.array([0, 1, 2])).tolist()
    [[0, 1], [0, 1], [1, 1], [1, 1]]
    """
    rows = np.flatnonzero(spans[:, 1] > spans[:, 0])
    ends = spans[rows, 1]
    last = rows[np.append(ends[1:] != ends[:-1], True)] if len(rows) else rows
    lost = rows[~np.isin(last[np.searchsorted(last, rows)], kept)]
    own = spans.copy()
    own[lost, 1] = own[lost, 0]
    return own
