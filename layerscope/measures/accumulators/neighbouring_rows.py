"""Triples of neighbouring rows, whatever order, chunks and parts the rows come in.

A row waits until the two before it and the two after it have come; rows that come in order wait two at a time. This module
knows rows; it knows no formula.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

__all__ = ["NeighbouringRows", "Rows"]


@dataclass(frozen=True)
class Rows:
    """Some rows, and whether their neighbours have come.

    Attributes
    ----------
    number
        Consecutive for neighbours.
    sequence
        Which each belongs to.
    position
        Where it stands there, in each capture.
    states
        Of each capture.
    before, after
        Whether no triple with rows before or after is still to come.
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
        """Take rows whose neighbours have not come."""
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
    """The rows that wait for their neighbours.

    Parameters
    ----------
    layers, width
        The shape of a token's states, of each capture.
    dtype
        Of the states.
    first
        The lowest position that comes: what stands there has nothing before it.
    """

    def __init__(self, layers: list[int], width: list[int], dtype: torch.dtype, first: int) -> None:
        self.first = first
        none = np.zeros(0, np.int64)
        states = [torch.empty(0, n, p, dtype=dtype) for n, p in zip(layers, width, strict=True)]
        self.rows = Rows.new(none, none, np.zeros((0, len(layers)), np.int64), states)

    def take(self, rows: Rows) -> tuple[Rows, Bool[np.ndarray, " triple"]]:
        """Take new rows.

        Returns
        -------
        tuple
            Rows by number, and for all but the last two whether this row and the next two are a triple of consecutive
            positions that was not complete before.
        """
        return self._join(rows, every=True)

    def merge(self, part: "NeighbouringRows") -> tuple[Rows, Bool[np.ndarray, " triple"]]:
        """Take the rows that wait elsewhere, where their own triples were given out already; return as `take`."""
        return self._join(part.rows, every=False)

    def _join(self, rows: Rows, *, every: bool) -> tuple[Rows, Bool[np.ndarray, " triple"]]:
        both = self.rows + rows
        order = np.argsort(both.number)
        both, came = both[order], (order >= len(self.rows)).astype(int)
        together = both.number[2:] - both.number[:-2] == 2
        newcomers = came[2:] + came[1:-1] + came[:-2]
        empty_like = (newcomers > 0) & (every | (newcomers < 3))
        before, after = both.before | (both.position[:, 0] == self.first), both.after.copy()
        before[1:] |= (np.diff(both.number) == 1) & (both.position[1:, 0] == self.first + 1)
        before[2:] |= together
        after[:-2] |= together
        both = replace(both, before=before, after=after)
        self.rows = both[np.flatnonzero(~(before & after))]
        return both, together & empty_like & _consecutive(both)


def _consecutive(rows: Rows) -> Bool[np.ndarray, " triple"]:
    """Say where three rows are tokens of one sequence without a gap, in each capture."""
    same = (rows.sequence[2:] == rows.sequence[:-2]) & (rows.sequence[1:-1] == rows.sequence[:-2])
    steps = (np.diff(rows.position, axis=0) == 1).all(1)
    consecutive: np.ndarray = same & steps[1:] & steps[:-1]
    return consecutive
