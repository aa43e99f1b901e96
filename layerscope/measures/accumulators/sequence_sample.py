"""Complete sequences in memory: all, or a seeded sample, for rows in any order, chunks and parts.

Every sequence has a priority, a hash of the seed and its number. The sample is the sequences of lowest priority that fit.
"""

import heapq
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float

from layerscope.measures.kernels.priority import row_priority
from layerscope.states import StateRows

__all__ = ["SequenceSample"]

_Part = tuple[np.ndarray, list[torch.Tensor]]


class SequenceSample:
    """The rows of complete sequences.

    Parameters
    ----------
    room
        Maximum number of rows; one sequence is kept regardless of its length.
    seed
        Seed of the sample.

    Attributes
    ----------
    seen
        Numbers of the sequences that have had a row.

    Examples
    --------
    >>> sample = SequenceSample(room=3, seed=0)
    >>> for sequence in (0, 1, 2):
    ...     index = np.full(2, sequence)
    ...     rows = StateRows(torch.ones(2, 1, 4), 2 * sequence + np.arange(2), index, np.arange(2), index)
    ...     sample.update(rows, None)
    >>> len(sample), len(sample.seen)
    (1, 3)
    """

    def __init__(self, room: int, seed: int) -> None:
        self.room, self.seed = room, seed
        self.seen: set[int] = set()
        self._limit = 2**64  # sequences of this priority or a higher one are not kept
        self._rows = 0
        self._parts: dict[int, list[_Part]] = {}
        self._highest: list[tuple[int, int]] = []  # a heap of (-priority, sequence)

    def __len__(self) -> int:
        return len(self._parts)

    @property
    def complete(self) -> bool:
        """Whether the sample contains every sequence."""
        return len(self._parts) == len(self.seen)

    @property
    def rows(self) -> int:
        """Number of rows in the sample."""
        return self._rows

    def update(self, rows: StateRows, other: StateRows | None) -> None:
        """Add some rows, and the rows of the same tokens in the second capture if there is one."""
        states = [part.hidden for part in (rows, other) if part is not None]
        for sequence in np.unique(rows.sequence_index).tolist():
            self.seen.add(sequence)
            if self._priority(sequence) < self._limit:
                chosen = np.flatnonzero(rows.sequence_index == sequence)
                index = torch.from_numpy(chosen)
                self._hold(sequence, (rows.row[chosen], [hidden[index] for hidden in states]))

    def merge(self, part: "SequenceSample") -> None:
        """Add the rows of another sample."""
        self.seen |= part.seen
        self._limit = min(self._limit, part._limit)
        for sequence, parts in part._parts.items():
            for rows in parts:
                self._hold(sequence, rows)

    def sequences(self) -> Iterator[list[Float[torch.Tensor, "token _layer _feature"]]]:
        """Yield the states of each sequence in each capture, with sequences and rows in ascending order."""
        for sequence in sorted(self._parts):
            parts = self._parts[sequence]
            order = torch.from_numpy(np.argsort(np.concatenate([row for row, _ in parts])))
            yield [torch.cat(side)[order] for side in zip(*(states for _, states in parts), strict=True)]

    def _priority(self, sequence: int) -> int:
        return int(row_priority(np.array([sequence]), self.seed)[0])

    def _hold(self, sequence: int, rows: _Part) -> None:
        """Keep some rows of a sequence, then drop the sequences of highest priority until the rest fit."""
        if sequence not in self._parts:
            self._parts[sequence] = []
            heapq.heappush(self._highest, (-self._priority(sequence), sequence))
        self._parts[sequence].append(rows)
        self._rows += len(rows[0])
        while -self._highest[0][0] >= self._limit or (self._rows > self.room and len(self._parts) > 1):
            priority, last = heapq.heappop(self._highest)
            self._limit = min(self._limit, -priority)
            self._rows -= sum(len(row) for row, _ in self._parts.pop(last))
            if not self._parts:
                break
