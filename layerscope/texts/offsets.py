"""Which characters of a text each token has read, from what the tokenizers library says of it.

The library's offsets are not that: its post-processors take white space off them, a token made of a space that is not in the text
is said to stand for the character after it, and where the library composes two characters into one the second is lost. Two
captures of different tokenizers are paired where their tokens have read the same text, so these are put right here.

Knows the offsets of one text; knows no file and no model.
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
"""What tokenizers write for a space."""


@contextmanager
def untrimmed(backend: Any) -> Iterator[None]:
    """Keep the post-processor of a `tokenizers.Tokenizer` from taking white space off the offsets; ids do not change."""
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
    """Return where the characters that each token has read begin and end.

    Parameters
    ----------
    text
        The text.
    tokens
        The tokens of it, in order, as the vocabulary spells them; none that a template has put around them.
    offsets
        What the library says of each, white space included; see `untrimmed`.

    Returns
    -------
    Int[np.ndarray, "token 2"]
        The spans ascend. Each begins where the one before ends, but for characters that the tokenizer drops, and but for tokens
        that share one character (its bytes, or what a normalizer makes of it): each of these has all of it. A token that ends
        inside a character which a later token goes on from has no characters of its own; they count for the later one. So has a
        token made of a space that is not in the text.

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
    """Give combining characters that no token stands for to the token of the character that they belong to."""
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
    """Settle, from the last token to the first, which of those that overlap has read the characters."""
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
    """Take its characters from each token that has read a part of one, where the token that has read the last part is not kept.

    Parameters
    ----------
    spans
        Of all tokens of a text; see `read_characters`.
    kept
        Places of the tokens that are kept.

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
