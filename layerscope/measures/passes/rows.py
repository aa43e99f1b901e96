"""Read the rows of one capture, or of two in step, for the engine."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import cycle

import numpy as np
import torch
from jaxtyping import Int

from layerscope.errors import MeasureError
from layerscope.measures.context import AnalysisContext, Axis
from layerscope.measures.options import AnalysisOptions
from layerscope.states import MEAN, StateRows, after_first
from layerscope.store.source import StateSource
from layerscope.stream_names import STREAMS
from layerscope.threads import thread_pool

__all__ = ["AnalysisRows", "RowPair", "chunk_rows", "split"]

RowPair = tuple[StateRows, StateRows | None]

_CHUNK_BYTES = 8_000_000
_BLOCK_BYTES = 16_000_000
_STORED_TOGETHER = 256
"""Rows of each layer in one chunk of a capture file; reading fewer rows at a time reads chunks twice."""


def chunk_rows(row_bytes: int) -> int:
    """Return the number of rows to process at once, so that they stay in the processor's cache."""
    return max(16, min(1024, _CHUNK_BYTES // row_bytes // 16 * 16))


class AnalysisRows:
    """An iterable over the rows of a source, without the first positions of each sequence.

    Parameters
    ----------
    source, other
        The capture, and a second capture with corresponding rows, or None.
    exclude_first
        Rows at lower positions, in either capture, are left out.

    Attributes
    ----------
    rows
        Numbers of the rows.
    sequences
        Number of sequences that have rows.

    Raises
    ------
    MeasureError
        No row is left.
    """

    def __init__(self, source: StateSource, other: StateSource | None, exclude_first: int) -> None:
        self.sources = [source] if other is None else [source, other]
        self.exclude_first = exclude_first
        self._keep = np.logical_and.reduce([after_first(each.position, exclude_first) for each in self.sources])
        self.rows: Int[np.ndarray, " token"] = np.flatnonzero(self._keep)
        if not len(self.rows):
            what = "means, which contain the first tokens," if (source.position == MEAN).any() else "tokens"
            raise MeasureError(
                f"{source.name}: none of its {len(source.position)} {what} is left after leaving out {exclude_first} at each "
                "start: take a lower --exclude-first"
            )
        present, slot = np.unique(source.sequence_index[self._keep], return_inverse=True)
        self.sequences = len(present)
        # Only sequences that have rows are numbered, because sums are kept for each number.
        self._slot = np.zeros(len(source.position), np.int64)
        self._slot[self._keep] = slot
        self.dtype = max((each.dtype for each in self.sources), key=lambda dtype: dtype.itemsize)
        self.precision = max(each.precision for each in self.sources)

    def context(self, options: AnalysisOptions | None = None) -> AnalysisContext:
        """Return the context of an analysis of these rows."""
        options = options or AnalysisOptions()
        first, *rest = (replace(self._axis(source), word=options.axis_word) for source in self.sources)
        return AnalysisContext(
            first,
            rest[0] if rest else None,
            dtype=self.dtype,
            rows=self.rows,
            sequences=self.sequences,
            options=replace(options, exclude_first=self.exclude_first),
            precision=self.precision,
        )

    @staticmethod
    def _axis(source: StateSource) -> Axis:
        return Axis(source.layer.astype(np.int64), tuple(source.layer_name), source.width)

    def __iter__(self) -> Iterator[RowPair]:
        """Yield the rows block by block. A block is read while the one before is processed, and is valid until the next."""
        row_bytes = sum(len(each.layer) * each.width for each in self.sources) * self.dtype.itemsize
        block = _STORED_TOGETHER * max(1, min(16, _BLOCK_BYTES // (row_bytes * _STORED_TOGETHER)))
        buffers = [
            [torch.empty(block, len(each.layer), each.width, dtype=each.dtype) for each in self.sources]
            for _ in range(2)
        ]
        starts = [start for start in range(0, len(self._keep), block) if self._keep[start : start + block].any()]
        jobs = [partial(self._block, start, buffer) for start, buffer in zip(starts, cycle(buffers), strict=False)]
        pending = thread_pool().submit_read(jobs[0])
        for following in [*jobs[1:], None]:
            sides = pending.result()
            if following is not None:
                pending = thread_pool().submit_read(following)
            yield sides[0], sides[1] if len(sides) > 1 else None

    def _block(self, start: int, buffers: list[torch.Tensor]) -> list[StateRows]:
        stop = min(start + len(buffers[0]), len(self._keep))
        return [self._rows(each, start, stop, into) for each, into in zip(self.sources, buffers, strict=True)]

    def _rows(self, source: StateSource, start: int, stop: int, buffer: torch.Tensor) -> StateRows:
        hidden = source.read(start, stop, out=buffer[: stop - start]).to(self.dtype)
        part = slice(start, stop)
        added = {name: self._added(source, name, start, stop) for name in source.added}
        rows = StateRows(hidden, np.arange(start, stop), self._slot[part], source.position[part], source.token_id[part])
        return rows.with_added(added).select(self._keep[part])

    def _added(self, source: StateSource, stream: str, start: int, stop: int) -> torch.Tensor:
        """Read the contributions of the blocks of the axis."""
        blocks = self._axis(source).blocks
        held = source.added[stream]
        missing = np.setdiff1d(blocks, held.layer)
        if len(missing):
            raise MeasureError(
                f"{source.name}: {STREAMS[stream]} lacks block {missing[0]}: select the same blocks and layers"
            )
        places = np.flatnonzero(np.isin(held.layer, blocks))
        return held.read(start, stop).to(self.dtype)[:, torch.from_numpy(places)]


def split(rows: StateRows, other: StateRows | None, size: int) -> Iterator[RowPair]:
    """Split rows into parts of at most `size`."""
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        yield rows.part(part), None if other is None else other.part(part)
