"""Which states differ by no more than rounding, and which directions are nothing but rounding.

A state is known only as well as it was computed and stored. Two runs of one token after the same tokens give states that
differ in the last digits, because the order of sums depends on the batch. `equal_rows` finds such states, so that they can be made equal, and
every later comparison for equality be exact. This module knows matrices; it knows no measure, no files, no labels.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

__all__ = ["Noise", "distinct_rows", "equal_rows", "identical_rows", "row_tolerance"]

_SINGLE = torch.finfo(torch.float32).eps
_STORED, _COMPUTED = 4, 64
_PROJECTIONS, _REACH = 8, 6.0
_PAIRS_AT_ONCE = 1_000_000
_ROWS_OF_MEDIAN = 512


def row_tolerance(precision: float) -> float:
    """Return the distance, relative to the longer state, up to which two states count as equal.

    Parameters
    ----------
    precision
        The relative spacing (machine epsilon) of the numbers in which the states were computed or stored, the coarser one.

    Examples
    --------
    >>> [f"{row_tolerance(torch.finfo(dtype).eps):.1e}" for dtype in (torch.float64, torch.float32, torch.bfloat16)]
    ['1.4e-14', '7.6e-06', '3.1e-02']
    """
    return _STORED * precision + (_COMPUTED - _STORED) * min(precision, _SINGLE)


def equal_rows(states: Float[torch.Tensor, "token feature"], tolerance: float) -> Int[np.ndarray, " token"]:
    """Return for each row the number of the first row that it equals within the tolerance; its own where there is none.

    Rows are compared with first rows only, so the relation does not spread along a chain of near rows.

    Examples
    --------
    >>> equal_rows(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1e-7], [1.0, 0.0]]), 1e-6)
    array([0, 1, 0, 0])
    """
    first = identical_rows(states)
    kept = np.flatnonzero(first == np.arange(len(first)))
    exact = states[torch.from_numpy(kept)].double()
    length = torch.linalg.vector_norm(exact, dim=1)
    leader = np.arange(len(kept))
    for row, near in _candidates(exact, length, tolerance):
        if leader[row] != row:
            continue
        near = near[leader[near] == near]
        others = torch.from_numpy(near)
        apart = torch.linalg.vector_norm(exact[others] - exact[row], dim=1)
        leader[near[(apart <= tolerance * length[others].clamp(min=length[row])).numpy()]] = row
    merged = np.arange(len(first))
    merged[kept] = kept[leader]
    result: np.ndarray = merged[first]
    return result


def distinct_rows(states: Float[torch.Tensor, "token feature"]) -> Int[np.ndarray, " distinct"]:
    """Return the numbers of the rows that are not equal, value by value, to an earlier one.

    Examples
    --------
    >>> distinct_rows(torch.tensor([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]]))
    array([0, 1])
    """
    first = identical_rows(states)
    rows: np.ndarray = np.flatnonzero(first == np.arange(len(first)))
    return rows


def identical_rows(states: Float[torch.Tensor, "token feature"]) -> Int[np.ndarray, " token"]:
    """Return for each row the number of the first row of the same values.

    Examples
    --------
    >>> identical_rows(torch.tensor([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]]))
    array([0, 1, 0])
    """
    known: dict[bytes, int] = {}
    plain = (states + 0.0).numpy()  # a negative zero is a zero
    return np.array([known.setdefault(row.tobytes(), number) for number, row in enumerate(plain)], np.int64)


@dataclass(frozen=True)
class Noise:
    r"""What the rounding of its values adds to a layer's singular values.

    Rounding adds to each value a number of about its size times the precision. A matrix of n × p independent numbers of unit
    size has singular values up to `edge`. So a direction is known if it is longer than that once each feature is divided by its
    own `size`: a few huge features must not hide the directions of all others.

    Attributes
    ----------
    size
        Of each feature: the median absolute value over tokens (their mean, where most are zero) times the precision. A median,
        because a massive token carries its rounding in its own direction only.
    edge
        $\sqrt n+\sqrt p$.
    """

    size: Float[torch.Tensor, " feature"]
    edge: float

    @classmethod
    def of(cls, states: Float[torch.Tensor, "token feature"], precision: float, tokens: int | None = None) -> "Noise":
        """Estimate it of states, not centred, of which about 512 evenly spaced tokens are enough.

        Parameters
        ----------
        states
            A sample of the tokens will do.
        precision
            As for `row_tolerance`.
        tokens
            How many tokens there are; None for those given.

        Examples
        --------
        >>> Noise.of(torch.tensor([[100.0, 1.0]] * 4), 0.01)
        Noise(size=tensor([1.0000, 0.0100], dtype=torch.float64), edge=3.414213562373095)
        """
        sizes = states[:: max(1, len(states) // _ROWS_OF_MEDIAN)].abs().double()
        typical = sizes.median(0).values
        count = len(states) if tokens is None else tokens
        return cls(precision * typical.where(typical > 0, sizes.mean(0)), count**0.5 + states.shape[1] ** 0.5)

    def rank(self, smallest: float, scaled: Callable[[Float[torch.Tensor, " feature"]], torch.Tensor]) -> int | None:
        """Count the known directions; None where all singular values are so large that there is nothing to count.

        Parameters
        ----------
        smallest
            The smallest singular value.
        scaled
            Gives the singular values of the states whose features are multiplied by the numbers it is called with.
        """
        if smallest > self.edge * float(self.size.max()):
            return None
        weights = self.size.reciprocal().where(self.size > 0, 0)
        return int((scaled(weights) > self.edge).sum())


def _candidates(
    states: Float[torch.Tensor, "row feature"], length: Float[torch.Tensor, " row"], tolerance: float
) -> Iterator[tuple[int, Int[np.ndarray, " near"]]]:
    """Give the rows that may have an equal among later rows, in ascending order, and which these are.

    Equal rows have nearly equal projections on any direction: on a random one of unit variance, a difference of length d comes
    out beyond six d once in five hundred million.
    """
    directions = np.random.default_rng(0).normal(size=(states.shape[1], _PROJECTIONS))
    sketch = (states @ torch.from_numpy(directions)).numpy()
    order = np.argsort(sketch[:, 0], kind="stable")
    line = sketch[order, 0]
    reach = _REACH * tolerance * length.numpy()[order] * (1 + 2 * tolerance)
    ends = np.searchsorted(line, line + reach, side="right") - np.arange(1, len(line) + 1)
    pairs = []
    for start, stop in _batches(ends):
        left = np.repeat(np.arange(start, stop), ends[start:stop])
        right = left + 1 + np.arange(len(left)) - np.repeat(np.cumsum(ends[start:stop]) - ends[start:stop], ends[start:stop])
        one, two = order[left], order[right]
        near = (np.abs(sketch[one] - sketch[two]) <= reach[left, None]).all(1)
        pairs.append(np.sort(np.stack([one[near], two[near]], axis=1), axis=1))
    found = np.concatenate(pairs) if pairs else np.zeros((0, 2), np.int64)
    found = found[np.lexsort((found[:, 1], found[:, 0]))]
    rows, starts = np.unique(found[:, 0], return_index=True)
    for row, near in zip(rows.tolist(), np.split(found[:, 1], starts[1:]), strict=True) if len(rows) else ():
        yield row, near


def _batches(counts: Int[np.ndarray, " row"]) -> Iterator[tuple[int, int]]:
    """Cut rows so that the pairs of a batch are about a million."""
    batch = np.cumsum(counts) // _PAIRS_AT_ONCE
    cuts = [0, *(np.flatnonzero(np.diff(batch)) + 1).tolist(), len(counts)]
    yield from zip(cuts[:-1], cuts[1:], strict=True)
