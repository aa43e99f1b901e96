"""Find states that differ only by rounding errors, and directions that are only rounding errors.

The precision of a state is that of its computation and storage. Two runs of a token after the same tokens give states that
differ in the last digits, because the order of sums depends on the batch. `equal_rows` finds such states. After they are made
equal, every later comparison for equality is exact.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int

__all__ = [
    "Noise",
    "distinct_rows",
    "equal_rows",
    "identical_rows",
    "rounding_scale",
    "row_tolerance",
    "value_tolerance",
]

_SINGLE = torch.finfo(torch.float32).eps
_ROWS, _VALUES, _COMPUTED = 6, 1, 128
"""Numbers of rounding errors by which equal rows, and equal values, may differ: of stored numbers, and of float32 sums."""
_PROJECTIONS, _REACH = 8, 6.0
_PAIRS_AT_ONCE = 1_000_000
_ROWS_SEEN = 512


def row_tolerance(precision: float) -> float:
    """Return the largest distance in `rounding_scale` at which two states count as equal.

    Parameters
    ----------
    precision
        Machine epsilon of the type in which the states were computed or stored, the larger of both.

    Examples
    --------
    >>> [f"{row_tolerance(torch.finfo(dtype).eps):.1e}" for dtype in (torch.float64, torch.float32, torch.bfloat16)]
    ['3.0e-14', '1.6e-05', '4.7e-02']
    """
    return _ROWS * precision + _COMPUTED * min(precision, _SINGLE)


def value_tolerance(precision: float) -> float:
    """Return the largest relative variation of numbers that may be only rounding.

    Examples
    --------
    >>> [f"{value_tolerance(torch.finfo(dtype).eps):.1e}" for dtype in (torch.float32, torch.bfloat16)]
    ['1.5e-05', '7.8e-03']
    """
    return _VALUES * precision + _COMPUTED * min(precision, _SINGLE)


def rounding_scale(states: Float[torch.Tensor, "token feature"]) -> Float[torch.Tensor, "token coordinate"]:
    r"""Map states so that rounding errors are about equal everywhere: distances become root mean squares of relative differences.

    The rounding error of a value has two parts: that of its own size, and that of the sums it was computed from, which have
    about the size of the token's typical value m (`typical_size`). So each value x becomes $\operatorname{arsinh}(x/m)$ over
    the root of the number of features, whose slope is proportional to $1/\sqrt{x^2+m^2}$. One more coordinate is $\ln m$.
    Tokens that share a massive feature and differ in all others stay apart.

    Examples
    --------
    >>> apart = rounding_scale(torch.tensor([[1e4] + [1.0] * 99, [1e4] + [1.001] * 99])).diff(dim=0).norm()
    >>> 1e-4 < float(apart) < 1e-3
    True
    """
    typical = typical_size(states, 1)[:, None]
    typical = typical.where(typical > 0, 1)
    return torch.cat([torch.asinh(states / typical) / states.shape[1] ** 0.5, typical.log()], dim=1)


def typical_size(states: Float[torch.Tensor, "token feature"], dim: int) -> Float[torch.Tensor, " other"]:
    """Return the square of the mean root of absolute values: a mean that a few massive values hardly change.

    A thousandth of their arithmetic mean is added to each value, because the slope of the root is infinite at zero.

    Examples
    --------
    >>> typical_size(torch.tensor([[1.0] * 99 + [1e4]]), 1).round(decimals=1)
    tensor([4.2000])
    """
    size = states.abs()
    return size.add_(size.mean(dim, keepdim=True), alpha=1e-3).sqrt_().mean(dim).square()


def equal_rows(states: Float[torch.Tensor, "token feature"], tolerance: float) -> Int[np.ndarray, " token"]:
    """Return for each row the number of the first row that it equals within the tolerance, or its own number.

    Rows are compared only with such first rows, so equality does not spread along a chain of near rows.

    Examples
    --------
    >>> equal_rows(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1e-7], [1.0, 0.0]]), 1e-5)
    array([0, 1, 0, 0])
    """
    first = identical_rows(states)
    kept = np.flatnonzero(first == np.arange(len(first)))
    scaled = rounding_scale(states[torch.from_numpy(kept)])
    leader = np.arange(len(kept))
    for row, near in _candidates(scaled, tolerance):
        if leader[row] != row:
            continue
        near = near[leader[near] == near]
        apart = torch.linalg.vector_norm(scaled[torch.from_numpy(near)] - scaled[row], dim=1)
        leader[near[(apart <= tolerance).numpy()]] = row
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
    """Return for each row the number of the first row with the same values.

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
    r"""The rounding error of a layer's values, and the singular values that it can cause.

    The rounding error of a value is about its size times the precision. A matrix of n × p independent numbers of unit size has
    singular values up to `edge`. So a direction is known if its singular value is larger after each feature is divided by its
    `size`. The division keeps a few very large features from hiding the directions of all others.

    Attributes
    ----------
    size
        For each feature, its typical value over tokens times the precision. The rounding error of a massive token affects
        only the token's own direction.
    edge
        $\sqrt n+\sqrt p$.
    """

    size: Float[torch.Tensor, " feature"]
    edge: float

    @classmethod
    def of(cls, states: Float[torch.Tensor, "token feature"], precision: float, tokens: int | None = None) -> "Noise":
        """Estimate the rounding error from about 512 evenly spaced tokens of states that are not centred.

        Parameters
        ----------
        states
            States of all tokens or of a sample.
        precision
            See `row_tolerance`.
        tokens
            Number of all tokens; None if `states` has all.

        Examples
        --------
        >>> Noise.of(torch.tensor([[100.0, 1.0]] * 4), 0.01)
        Noise(size=tensor([1.0010, 0.0100], dtype=torch.float64), edge=3.414213562373095)
        """
        typical = typical_size(states[:: max(1, len(states) // _ROWS_SEEN)].double(), 0)
        count = len(states) if tokens is None else tokens
        return cls(precision * typical, count**0.5 + states.shape[1] ** 0.5)

    def rank(self, smallest: float, scaled: Callable[[Float[torch.Tensor, " feature"]], torch.Tensor]) -> int | None:
        """Return the number of known directions; None if even the smallest singular value is clearly above the rounding error.

        Parameters
        ----------
        smallest
            The smallest singular value.
        scaled
            Function that returns the singular values of the states after each feature is multiplied by its argument.
        """
        if smallest > self.edge * float(self.size.max()):
            return None
        weights = self.size.reciprocal().where(self.size > 0, 0)
        return int((scaled(weights) > self.edge).sum())


def _candidates(
    scaled: Float[torch.Tensor, "row coordinate"], tolerance: float
) -> Iterator[tuple[int, Int[np.ndarray, " near"]]]:
    """Yield the rows that may have an equal among later rows, in ascending order, and these later rows.

    Equal rows have nearly equal projections on any direction. The projection of a difference of length d on a random direction
    of unit variance exceeds six d with a probability of one in five hundred million.
    """
    directions = np.random.default_rng(0).normal(size=(scaled.shape[1], _PROJECTIONS))
    sketch = (scaled @ torch.from_numpy(directions).to(scaled.dtype)).double().numpy()
    order = np.argsort(sketch[:, 0], kind="stable")
    line, reach = sketch[order, 0], _REACH * tolerance
    follow = np.searchsorted(line, line + reach, side="right") - np.arange(1, len(line) + 1)
    pairs = [np.zeros((0, 2), np.int64)]
    for start, stop in _batches(follow):
        many = follow[start:stop]
        left = np.repeat(np.arange(start, stop), many)
        right = left + 1 + np.arange(len(left)) - np.repeat(np.cumsum(many) - many, many)
        one, two = order[left], order[right]
        near = (np.abs(sketch[one] - sketch[two]) <= reach).all(1)
        pairs.append(np.sort(np.stack([one[near], two[near]], axis=1), axis=1))
    candidates = np.concatenate(pairs)
    candidates = candidates[np.lexsort((candidates[:, 1], candidates[:, 0]))]
    rows, starts = np.unique(candidates[:, 0], return_index=True)
    yield from zip(rows.tolist(), np.split(candidates[:, 1], starts[1:])[: len(rows)], strict=True)


def _batches(counts: Int[np.ndarray, " row"]) -> Iterator[tuple[int, int]]:
    """Split rows into batches of about a million pairs."""
    batch = np.cumsum(counts) // _PAIRS_AT_ONCE
    cuts = [0, *(np.flatnonzero(np.diff(batch)) + 1).tolist(), len(counts)]
    yield from pairwise(cuts)
