"""Find the corresponding rows of two captures: those of the same token, or those that end at the same character.

Two tokenizers split a text differently. Two causal models have read the same text only where their tokens end at the same
character. If several tokens end at one character (the bytes of an emoji), the last of them is paired. Special tokens have no
characters and no partner.
"""

import warnings
from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from layerscope.errors import MeasureError, UsageError, unknown_name
from layerscope.states import MEAN
from layerscope.store.schema import Attribute
from layerscope.store.source import StateSource
from layerscope.store.spans import Spans

__all__ = ["ALIGNMENTS", "Pairing", "pair"]

ALIGNMENTS = ("auto", "tokens", "spans")
"""Row by row, by characters, or row by row if possible."""

_WIDEST_GAP = 32
"""Up to this number of unneeded rows are read to avoid a second read, which costs more."""


@dataclass(frozen=True)
class Pairing:
    """Two sources whose rows correspond by number.

    Attributes
    ----------
    first, second
        Sources with the same number of rows.
    attributes
        Attributes for the analysis: ``alignment``, ``aligned_tokens``, ``captured_tokens``, ``captured_tokens_other``.
    """

    first: StateSource
    second: StateSource
    attributes: dict[str, Attribute]


def pair(source: StateSource, other: StateSource, align: str = "auto") -> Pairing:
    """Pair the rows of two captures.

    Parameters
    ----------
    source, other
        The captures.
    align
        ``tokens``: row by row, which must agree in token id and position. ``spans``: tokens that end at the same character
        of the same text. ``auto``: row by row if they agree, else by spans if both captures have them, with a warning.

    Raises
    ------
    UsageError
        `align` is not valid, or a capture has no spans.
    MeasureError
        The rows differ and cannot be paired by spans, a text differs, or no token is left.
    """
    if align not in ALIGNMENTS:
        raise unknown_name("alignment", align, ALIGNMENTS)
    difference = _first_difference(source, other)
    if align != "spans" and difference is None:
        return Pairing(source, other, _attributes("tokens", len(source.position), source, other))
    spans = (None, None) if align == "tokens" else (source.spans(), other.spans())
    if spans[0] is not None and spans[1] is not None:
        if align == "auto":
            warnings.warn(
                f"{difference}; compared where tokens end at the same character (--align spans)", stacklevel=2
            )
        return _by_spans(source, other, spans[0], spans[1])
    if align == "spans":
        missing = source.name if spans[0] is None else other.name
        raise UsageError(f"{missing} does not record the characters of its tokens: capture it again with --spans")
    remedy = (
        "compare captures of the same texts, tokenizer, --max-length and --tokens; "
        "of different tokenizers capture both with --spans"
    )
    raise MeasureError(f"{difference}\n{remedy}")


def _attributes(alignment: str, pairs: int, source: StateSource, other: StateSource) -> dict[str, Attribute]:
    return {
        "alignment": alignment,
        "aligned_tokens": pairs,
        "captured_tokens": len(source.position),
        "captured_tokens_other": len(other.position),
    }


def _first_difference(source: StateSource, other: StateSource) -> str | None:
    differ_in = f"{source.name} and {other.name} hold different tokens: "
    for what in ("sequence_index", "position", "token_id"):
        here, there = getattr(source, what), getattr(other, what)
        common = min(len(here), len(there))
        differ = np.flatnonzero(here[:common] != there[:common])
        if len(differ):
            row = int(differ[0])
            return f"{differ_in}row {row} has {what} {here[row]} and {there[row]}"
    if len(source.position) != len(other.position):
        return f"{differ_in}{len(source.position)} and {len(other.position)} rows"
    return _first_other_text(source, other) if (source.position == MEAN).any() else None


def _first_other_text(source: StateSource, other: StateSource) -> str | None:
    """Describe the first row that is the mean of another text: means have no token ids by which they would differ."""
    here, there = source.sequences(), other.sequences()
    if here is None or there is None:
        return None
    same_tokens = source.attrs.get("model") == other.attrs.get("model")
    for row, number in enumerate(source.sequence_index):
        texts = [f"{each.id[number]!r} ({each.length[number]} tokens)" for each in (here, there)]
        if here.id[number] != there.id[number] or (same_tokens and here.length[number] != there.length[number]):
            return f"{source.name} and {other.name} hold different texts: row {row} is the mean of {' and of '.join(texts)}"
    return None


def _by_spans(source: StateSource, other: StateSource, spans: Spans, others: Spans) -> Pairing:
    same = _same_texts(source.name, other.name, spans, others)
    here = _last_at_each_end(source, spans, np.arange(len(spans.sequence_id)))
    there = _last_at_each_end(other, others, same)
    places, at_here, at_there = np.intersect1d(here[:, 0], there[:, 0], assume_unique=True, return_indices=True)
    if not len(places):
        raise MeasureError(
            f"{source.name} and {other.name} have no two tokens that end at the same character of the same text\n"
            "capture the same texts, and more tokens of each"
        )
    sequence = places >> _END_BITS
    first = _Matched(source, here[at_here, 1], sequence)
    second = _Matched(other, there[at_there, 1], sequence)
    return Pairing(first, second, _attributes("spans", len(places), source, other))


_END_BITS = 32


def _last_at_each_end(
    source: StateSource, spans: Spans, sequence: Int[np.ndarray, " sequence"]
) -> Int[np.ndarray, "place 2"]:
    """Return each (sequence, end) at which a token ends, as one number, and the row of the last such token.

    `sequence` is the common number of each sequence; -1 for a sequence that the other capture does not have.
    """
    number = sequence[source.sequence_index]
    rows = np.flatnonzero((spans.end > spans.start) & (number >= 0))
    place = (number[rows] << _END_BITS) | spans.end[rows].astype(np.int64)
    order = np.lexsort((source.position[rows], place))
    last = order[np.append(place[order][1:] != place[order][:-1], True)] if len(order) else order
    return np.stack([place[last], rows[last]], axis=1)


def _same_texts(name: str, other: str, spans: Spans, others: Spans) -> Int[np.ndarray, " sequence"]:
    """Return, for each sequence of the second capture, the number of the same id in the first; -1 if there is none."""
    known = {key: number for number, key in enumerate(_numbered(spans.sequence_id))}
    same = np.full(len(others.sequence_id), -1, np.int64)
    for number, key in enumerate(_numbered(others.sequence_id)):
        same[number] = known.get(key, -1)
    both = np.flatnonzero(same >= 0)
    differ = both[spans.text_hash[same[both]] != others.text_hash[both]]
    if len(differ):
        raise MeasureError(
            f"{name} and {other} hold different texts under the id {others.sequence_id[differ[0]]!r}\n"
            "compare captures of the same texts"
        )
    return same


def _numbered(names: list[str]) -> list[tuple[str, int]]:
    """Number the sequences with the same id, in their order, so that each key is unique."""
    seen: Counter[str] = Counter()
    keys = []
    for name in names:
        keys.append((name, seen[name]))
        seen[name] += 1
    return keys


class _Matched:
    """Some rows of a source in a given order, as a `StateSource` with the common numbers of the sequences."""

    def __init__(
        self, source: StateSource, rows: Int[np.ndarray, " token"], sequence_index: Int[np.ndarray, " token"]
    ) -> None:
        self._source, self._rows = source, rows
        self.added: dict[str, StateSource] = {
            name: _Matched(added, rows, sequence_index) for name, added in source.added.items()
        }
        self.name, self.attrs, self.dtype, self.precision = source.name, source.attrs, source.dtype, source.precision
        self.layer, self.layer_name, self.width = source.layer, source.layer_name, source.width
        self.sequence_index = sequence_index
        self.position, self.token_id = source.position[rows], source.token_id[rows]

    def read(
        self, start: int, stop: int, out: Float[torch.Tensor, "token layer feature"] | None = None
    ) -> Float[torch.Tensor, "token layer feature"]:
        """Return the rows from `start` up to `stop`; see `StateSource.read`."""
        rows = self._rows[start:stop]
        taken = torch.empty(len(rows), len(self.layer), self.width, dtype=self.dtype) if out is None else out
        steps = np.diff(rows)
        cuts = np.flatnonzero((steps < 1) | (steps > _WIDEST_GAP)) + 1
        for part in np.split(np.arange(len(rows)), cuts) if len(rows) else []:
            first = int(rows[part[0]])
            piece = self._source.read(first, int(rows[part[-1]]) + 1)
            taken[int(part[0]) : int(part[-1]) + 1] = piece[torch.from_numpy(rows[part] - first)]
        return taken

    def sequences(self) -> None:
        """Return None: these rows are already paired."""

    def spans(self) -> None:
        """Return None: these rows are already paired."""
