"""Captures in memory, to measure the same states in other pairings and in parts.

The baselines (permutation null, noise ceiling, split-half reliability) measure recombined states. `InMemoryCapture` is a
`StateSource` of such states, so the engine computes every measure on them as between two captures.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float, Int

from layerscope.errors import MeasureError
from layerscope.measures.context import AnalysisContext
from layerscope.measures.estimate import Estimate
from layerscope.measures.passes.engine import Engine
from layerscope.measures.passes.rows import AnalysisRows
from layerscope.measures.record import Measure
from layerscope.store.source import StateSource

__all__ = ["InMemoryCapture", "error_context", "load", "measure_rows"]

_SHARE = 4
_FEWEST = 256
_FEWEST_WHOLE, _STARTED = 4, 20


@dataclass
class InMemoryCapture:
    """Rows of one capture in memory; a `StateSource`.

    Attributes
    ----------
    hidden
        States of all rows; recombined captures share them.
    taken
        The row of `hidden` for each token.
    """

    name: str
    layer: Int[np.ndarray, " layer"]
    layer_name: list[str]
    hidden: Float[torch.Tensor, "row layer feature"]
    taken: Int[np.ndarray, " token"]
    sequence_index: Int[np.ndarray, " token"]
    position: Int[np.ndarray, " token"]
    token_id: Int[np.ndarray, " token"]
    precision: float
    attrs: dict[str, str | int | float] = field(default_factory=dict)
    added: Mapping[str, StateSource] = field(default_factory=dict)
    width: int = field(init=False)
    dtype: torch.dtype = field(init=False)

    def __post_init__(self) -> None:
        self.width, self.dtype = self.hidden.shape[2], self.hidden.dtype

    def read(
        self, start: int, stop: int, out: Float[torch.Tensor, "token layer feature"] | None = None
    ) -> Float[torch.Tensor, "token layer feature"]:
        """Return the rows from `start` up to `stop`; see `StateSource.read`."""
        return torch.index_select(self.hidden, 0, torch.from_numpy(self.taken[start:stop]), out=out)

    def sequences(self) -> None:
        """Return None: rows in memory are already aligned."""

    def spans(self) -> None:
        """Return None: rows in memory are already aligned."""

    def paired(self, rows: Int[np.ndarray, " pair"], partners: Int[np.ndarray, " pair"]) -> "InMemoryCapture":
        """Select some tokens, and replace the states of each by those of its partner; position and id stay its own."""
        return replace(self.tokens(rows), taken=self.taken[partners])

    def tokens(self, chosen: Int[np.ndarray, " chosen"]) -> "InMemoryCapture":
        """Select some tokens."""
        return replace(
            self,
            taken=self.taken[chosen],
            sequence_index=self.sequence_index[chosen],
            position=self.position[chosen],
            token_id=self.token_id[chosen],
        )

    def features(self, index: int, chosen: Int[np.ndarray, " feature"]) -> "InMemoryCapture":
        """Select some features of one layer."""
        return replace(
            self,
            layer=self.layer[index : index + 1],
            layer_name=self.layer_name[index : index + 1],
            hidden=self.hidden[:, index : index + 1][:, :, torch.from_numpy(chosen)],
        )


def load(reader: AnalysisRows, context: AnalysisContext) -> list[InMemoryCapture]:
    """Read the rows of each capture into memory: all, or a seeded sample of sequences that fits into a quarter of it.

    The last sequence of a sample may be truncated. If fewer than four complete sequences fit, the sample is the first tokens
    of up to 20 sequences.
    """
    source = reader.sources[0]
    room = max(_FEWEST, context.options.memory // _SHARE // context.row_bytes)
    rows = _sampled(reader.rows, source.sequence_index[reader.rows], room, context.options.seed)
    states = [torch.empty(len(rows), len(each.layer), each.width, dtype=reader.dtype) for each in reader.sources]
    for sides in reader:
        here = np.isin(sides[0].row, rows, assume_unique=True)
        place = torch.from_numpy(np.searchsorted(rows, sides[0].row[here]))
        for held, side in zip(states, sides, strict=False):
            if side is not None:
                held[place] = side.hidden[torch.from_numpy(here)]
    return [_held(each, hidden, rows) for each, hidden in zip(reader.sources, states, strict=True)]


def measure_rows(
    first: InMemoryCapture, second: InMemoryCapture | None, measures: Iterable[Measure], context: AnalysisContext
) -> dict[str, Estimate]:
    """Compute measures between two sets of rows, or within one, with the options of the context but without intervals."""
    reader = AnalysisRows(first, second, context.options.exclude_first)
    options = replace(context.options, bootstrap=0, null=0, ceiling=0)
    engine = Engine(reader.context(options), measures)
    engine.run(lambda: reader)
    return {measure.name: estimate for measure, estimate in engine.estimates()}


@contextmanager
def error_context(part: str) -> Iterator[None]:
    """Add to a `MeasureError` the part of the rows on which it was raised."""
    try:
        yield
    except MeasureError as error:
        raise MeasureError(f"{part}: {error}") from error


def _sampled(
    rows: Int[np.ndarray, " token"], sequence: Int[np.ndarray, " token"], room: int, seed: int
) -> Int[np.ndarray, " chosen"]:
    """Choose complete sequences in random order until the room is full, or the starts of up to 20 if fewer than four fit.

    The baselines pair sequences or split them, so sequences keep their lengths and their last tokens where possible.
    """
    if len(rows) <= room:
        return rows
    present, slot, counts = np.unique(sequence, return_inverse=True, return_counts=True)
    turn = np.random.default_rng([seed, 3]).permutation(len(present))
    order = np.argsort(turn[slot], kind="stable")
    lengths = counts[np.argsort(turn)]
    if (np.cumsum(lengths) <= room).sum() >= _FEWEST_WHOLE:
        return np.sort(rows[order[:room]])
    started = min(_STARTED, len(present))
    within = np.arange(len(order)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return np.sort(rows[order[(within < room // started) & (turn[slot][order] < started)]])


def _held(
    source: StateSource, hidden: Float[torch.Tensor, "row layer feature"], rows: Int[np.ndarray, " row"]
) -> InMemoryCapture:
    return InMemoryCapture(
        source.name,
        source.layer,
        source.layer_name,
        hidden,
        np.arange(len(rows)),
        source.sequence_index[rows],
        source.position[rows],
        source.token_id[rows],
        source.precision,
    )
