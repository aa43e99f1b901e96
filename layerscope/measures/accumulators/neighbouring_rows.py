"""Triples of neighbouring rows, for rows in any order, chunks and parts.

A row is kept until the two rows before it and the two after it have arrived. If rows arrive in order, two are kept at a time.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

__all__ = ["NeighbouringRows", "Rows"]


@dataclass(frozen=True)
class Rows:
    """Some rows, and whether their neighbours have arrived.

    Attributes
    ----------
    number
        Consecutive for neighbours.
    sequence
        Sequence of each row.
    position
        Position in the sequence, in each capture.
    states
        States of each capture.
    before, after
        Whether all triples with rows before it, or after it, are complete.
    """

    number: Int[np.ndarray, " row"]
    sequence: Int[np.ndarray, " row"]
    position: Int[np.ndarray, "row capture"]
    states: list[Float[torch.Tensor, "row _layer _feature"]]
    before: Bool[np.ndarray, " row"]
    after: Bool[np.ndarray, " row"]

    @classmethod
    def new(
        cls,
        number: Int[np.ndarray, " row"],
        sequence: Int[np.ndarray, " row"],
        position: Int[np.ndarray, "row capture"],
        states: list[Float[torch.Tensor, "row _layer _feature"]],
    ) -> "Rows":
        """Make rows whose neighbours have not arrived."""
        return cls(number, sequence, position, states, np.zeros(len(number), bool), np.zeros(len(number), bool))

    def __len__(self) -> int:
        return len(self.number)

    def __getitem__(self, chosen: np.ndarray) -> "Rows":
        index = torch.from_numpy(chosen)
        return Rows(
            self.number[chosen],
            self.sequence[chosen],
            self.position[chosen],
            [states[index] for states in self.states],
            self.before[chosen],
            self.after[chosen],
        )

    def __add__(self, more: "Rows") -> "Rows":
        return Rows(
            np.concatenate([self.number, more.number]),
            np.concatenate([self.sequence, more.sequence]),
            np.concatenate([self.position, more.position]),
            [torch.cat(both) for both in zip(self.states, more.states, strict=True)],
            np.concatenate([self.before, more.before]),
            np.concatenate([self.after, more.after]),
        )


class NeighbouringRows:
    """The rows whose neighbours have not all arrived.

    Parameters
    ----------
    layers, width
        Number of layers and features of a token's states, in each capture.
    dtype
        Type of the states.
    first
        Lowest position of the analysed rows, which have no row before them.
    """

    def __init__(self, layers: list[int], width: list[int], dtype: torch.dtype, first: int) -> None:
        self.first = first
        none = np.zeros(0, np.int64)
        states = [torch.empty(0, n, p, dtype=dtype) for n, p in zip(layers, width, strict=True)]
        self.rows = Rows.new(none, none, np.zeros((0, len(layers)), np.int64), states)

    def take(self, rows: Rows) -> tuple[Rows, Bool[np.ndarray, " triple"]]:
        """Add new rows and return the triples that they complete.

        Returns
        -------
        tuple
            Rows in ascending order; for all but the last two, whether the row and the next two are a triple of consecutive
            positions that was not complete before.
        """
        return self._join(rows, every=True)

    def merge(self, part: "NeighbouringRows") -> tuple[Rows, Bool[np.ndarray, " triple"]]:
        """Add the rows kept by another accumulator, which has returned its own triples; return the same as `take`."""
        return self._join(part.rows, every=False)

    def _join(self, rows: Rows, *, every: bool) -> tuple[Rows, Bool[np.ndarray, " triple"]]:
        both = self.rows + rows
        order = np.argsort(both.number)
        both, came = both[order], (order >= len(self.rows)).astype(int)
        together = both.number[2:] - both.number[:-2] == 2
        newcomers = came[2:] + came[1:-1] + came[:-2]
        new = (newcomers > 0) & (every | (newcomers < 3))
        before, after = both.before | (both.position[:, 0] == self.first), both.after.copy()
        before[1:] |= (np.diff(both.number) == 1) & (both.position[1:, 0] == self.first + 1)
        before[2:] |= together
        after[:-2] |= together
        both = replace(both, before=before, after=after)
        self.rows = both[np.flatnonzero(~(before & after))]
        return both, together & new & _consecutive(both)


def _consecutive(rows: Rows) -> Bool[np.ndarray, " triple"]:
    """Return where three rows are consecutive tokens of one sequence, in each capture."""
    same = (rows.sequence[2:] == rows.sequence[:-2]) & (rows.sequence[1:-1] == rows.sequence[:-2])
    steps = (np.diff(rows.position, axis=0) == 1).all(1)
    consecutive: np.ndarray = same & steps[1:] & steps[:-1]
    return consecutive
