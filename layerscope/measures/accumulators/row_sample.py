"""A seeded sample of token rows that does not depend on their order or chunking.

Every row has a priority, a hash of the seed and its number. The sample is the rows of lowest priority, or all rows if they
fit.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Int, UInt64
from numpy.lib.stride_tricks import sliding_window_view

from layerscope.measures.context import EXACT_TOKENS, AnalysisContext
from layerscope.measures.kernels.priority import row_priority
from layerscope.measures.kernels.rounding import equal_rows, row_tolerance
from layerscope.states import StateRows
from layerscope.threads import thread_pool

__all__ = ["RowSample"]

PARTS = 8
"""Number of parts into which features are split if only medians are needed."""


class RowSample:
    """The states of up to 4,096 tokens, drawn with a seed.

    Parameters
    ----------
    context
        The analysis.
    exact
        Whether an estimator needs all of up to 4,096 rows in any memory; else the sample uses at most a quarter of it.
    medians_only
        Whether only medians are needed. A sample that is not complete then keeps an eighth of each token's features, a
        different eighth for each token, so that all features are sampled equally.
    """

    def __init__(self, context: AnalysisContext, *, exact: bool = False, medians_only: bool = False) -> None:
        room = EXACT_TOKENS
        self.thin = medians_only and context.tokens is not None and context.tokens > EXACT_TOKENS
        if not exact:
            room = min(room, max(256, context.options.memory // 4 // context.row_bytes))
        self.size = room if context.tokens is None else min(room, context.tokens)
        self.context = context
        self.seen = 0
        self._filled = 0
        self._limit = np.uint64(2**64 - 1)
        if context.rows is not None and self.size < len(context.rows):
            self._limit = np.partition(row_priority(context.rows, context.options.seed), self.size - 1)[self.size - 1]
        self._settled: dict[int, torch.Tensor] = {}
        self._priority = np.empty(self.size, np.uint64)
        self._row = np.empty(self.size, np.int64)
        self._sequence = np.empty(self.size, np.int64)
        self._hidden = [
            torch.empty(self.size, len(axis), _part_width(axis.width) if self.thin else axis.width, dtype=context.dtype)
            for axis in context.axes
        ]

    @property
    def complete(self) -> bool:
        """Whether the sample contains all rows."""
        return self.seen <= self.size

    @property
    def kept(self) -> int:
        """Number of rows in the sample."""
        return self._filled

    @property
    def row(self) -> Int[np.ndarray, " token"]:
        """The numbers of the sampled rows, ascending."""
        return np.sort(self._row[: self._filled])

    @property
    def sequence_index(self) -> Int[np.ndarray, " token"]:
        """The sequence of each sampled row."""
        sequence: np.ndarray = self._sequence[: self._filled][self._order()]
        return sequence

    def hidden(self, side: int = 0) -> Float[torch.Tensor, "token layer feature"]:
        """Return the states of the first (0) or the second (1) capture, in the order of their rows."""
        held = self._hidden[side][: self._filled]
        order = self._order()
        return held if (np.diff(order) == 1).all() else held[torch.from_numpy(order)]

    def settled(self, side: int = 0) -> Float[torch.Tensor, "token layer feature"]:
        """Return the states after rows of a layer that are equal within rounding are replaced by the first of them.

        Call it after the last row; the result is cached.
        """
        if side not in self._settled:
            hidden, tolerance = self.hidden(side), row_tolerance(self.context.epsilon)
            settled = hidden
            firsts = thread_pool().map(lambda states: equal_rows(states, tolerance), hidden.unbind(1))
            for layer, first in enumerate(firsts):
                later = np.flatnonzero(first != np.arange(len(first)))
                if len(later):
                    settled = hidden.clone() if settled is hidden else settled
                    settled[torch.from_numpy(later), layer] = hidden[torch.from_numpy(first[later]), layer]
            self._settled[side] = settled
        return self._settled[side]

    def lowest(self, size: int) -> Int[np.ndarray, " token"]:
        """Return the indices into `hidden` of a sample of at most `size` rows: those of lowest priority."""
        priority = self._priority[: self._filled][self._order()]
        chosen: np.ndarray = np.sort(np.argsort(priority, kind="stable")[:size])
        return chosen

    def for_medians(self, side: int = 0) -> Float[torch.Tensor, "token layer _feature"]:
        """Return values for the medians: all if the sample is complete, else an eighth of the features of each token."""
        held = self._hidden[side][: self._filled]
        if self.thin or self.complete:
            return held
        return torch.from_numpy(_eighths(held, np.arange(self._filled), self._priority[: self._filled]))

    def update(self, rows: StateRows, other: StateRows | None) -> None:
        """Add the rows that belong to the sample."""
        self.seen += len(rows)
        priority = row_priority(rows.row, self.context.options.seed)
        wanted = np.flatnonzero(priority <= self._limit)
        states = [part.hidden for part in (rows, other) if part is not None]
        pick = _eighths if self.thin else _whole
        self._take(priority, rows.row, rows.sequence_index, states, wanted, pick)

    def merge(self, part: "RowSample") -> None:
        """Add the rows of another sample that belong to the sample of both."""
        self.seen += part.seen
        wanted = np.flatnonzero(part._priority[: part._filled] <= self._limit)
        self._take(part._priority, part._row, part._sequence, part._hidden, wanted, _whole)

    def _take(
        self,
        priority: UInt64[np.ndarray, " row"],
        row: Int[np.ndarray, " row"],
        sequence: Int[np.ndarray, " row"],
        states: list[torch.Tensor],
        wanted: Int[np.ndarray, " wanted"],
        pick: Callable[[torch.Tensor, np.ndarray, np.ndarray], np.ndarray],
    ) -> None:
        if not len(wanted):
            return
        slots, wanted = self._make_room(priority, wanted)
        self._priority[slots], self._row[slots], self._sequence[slots] = priority[wanted], row[wanted], sequence[wanted]
        for held, hidden in zip(self._hidden, states, strict=True):
            held.numpy()[slots] = pick(hidden, wanted, priority[wanted])

    def _make_room(
        self, priority: UInt64[np.ndarray, " row"], wanted: Int[np.ndarray, " wanted"]
    ) -> tuple[Int[np.ndarray, " kept"], Int[np.ndarray, " kept"]]:
        """Return the places of the new rows and which of the wanted rows stay; they replace the old rows of highest priority."""
        filled = self._filled
        contest = np.concatenate([self._priority[:filled], priority[wanted]])
        if len(contest) <= self.size:
            self._filled = len(contest)
            return np.arange(filled, self._filled), wanted
        keep = np.argpartition(contest, self.size - 1)[: self.size]
        stay = np.zeros(len(contest), bool)
        stay[keep] = True
        self._filled = self.size
        self._limit = min(self._limit, contest[keep].max())
        free = np.concatenate([np.flatnonzero(~stay[:filled]), np.arange(filled, self.size)])
        return free, wanted[np.flatnonzero(stay[filled:])]

    def _order(self) -> Int[np.ndarray, " token"]:
        return np.argsort(self._row[: self._filled], kind="stable")


def _part_width(width: int) -> int:
    return -(-width // PARTS)


def _whole(
    hidden: Float[torch.Tensor, "token layer feature"],
    chosen: Int[np.ndarray, " chosen"],
    priority: UInt64[np.ndarray, " chosen"],
) -> Float[np.ndarray, "chosen layer feature"]:
    rows: np.ndarray = hidden.numpy()[chosen]
    return rows


def _eighths(
    hidden: Float[torch.Tensor, "token layer feature"],
    chosen: Int[np.ndarray, " chosen"],
    priority: UInt64[np.ndarray, " chosen"],
) -> Float[np.ndarray, "chosen layer part"]:
    """Return an eighth of the features of each chosen token; its priority decides which."""
    size = _part_width(hidden.shape[2])
    start = np.minimum((priority % np.uint64(PARTS)).astype(np.int64) * size, hidden.shape[2] - size)
    parts: np.ndarray = sliding_window_view(hidden.numpy(), size, axis=2)[chosen, :, start]
    return parts
