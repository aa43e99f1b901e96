"""Of how many dimensions a layer's tokens look when each is seen with its nearest neighbours.

Quadratic in tokens, so on the rows held: all up to 4,096, else a seeded sample. This module knows rows; it knows no labels and
no files.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.neighbors import NearestNeighbors

from layerscope.errors import MeasureError
from layerscope.measures.context import Estimate
from layerscope.measures.estimators.estimator import Estimator
from layerscope.measures.estimators.half_samples import HalfSamples
from layerscope.measures.kernels.rounding import distinct_rows
from layerscope.states import StateRows

__all__ = ["DIMENSIONS", "IntrinsicDimension", "mle_dimension", "nearest", "two_nn"]

_DISCARDED = 0.1
_NEAREST = 10


def nearest(states: Float[np.ndarray, "token feature"], count: int) -> Float[np.ndarray, "token neighbour"]:
    """Compute the distances of each token to its nearest other tokens, ascending.

    Which they are is found by scikit-learn; the distances, which it takes from differences of large products, are then
    computed from the states themselves.

    Examples
    --------
    >>> nearest(np.array([[0.0], [1.0], [3.0]]), 2)
    array([[1., 3.],
           [1., 2.],
           [2., 3.]])
    """
    search = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(states)
    found = search.kneighbors(return_distance=False)
    apart = [np.linalg.norm(states - states[found[:, which]], axis=1) for which in range(count)]
    return np.sort(np.stack(apart, axis=1), axis=1)


def two_nn(states: Float[np.ndarray, "token feature"]) -> float:
    r"""Compute the intrinsic dimension of Facco et al.: the slope of $-\ln(1-F(\mu))$ over $\ln\mu$.

    $\mu$ is the distance of a token to its second nearest neighbour over that to its nearest, $F$ its empirical distribution
    function, $i/n$ for the $i$-th smallest; the line goes through the origin and leaves out the tenth of the largest $\mu$.
    Tokens whose states are equal count as one.

    Raises
    ------
    MeasureError
        For fewer than three different states, and where $\mu$ is 1 for all.

    Examples
    --------
    >>> plane = np.random.default_rng(0).uniform(size=(2000, 2)) @ np.array([[1.0, 0, 2], [0, 1, 1]])
    >>> round(two_nn(plane), 1)
    2.0
    """
    distance = _apart(states, 2, "two_nn")
    tokens = len(distance)
    ratio = np.log(np.sort(distance[:, 1] / distance[:, 0]))[: int(tokens * (1 - _DISCARDED))]
    if not ratio.any():
        raise MeasureError("two_nn has no meaning where all nearest neighbours are equally far; leave it out")
    height = -np.log1p(-np.arange(1, len(ratio) + 1) / tokens)
    return float(ratio @ height / (ratio @ ratio))


def mle_dimension(states: Float[np.ndarray, "token feature"]) -> float:
    r"""Compute the maximum-likelihood intrinsic dimension of Levina and Bickel from the ten nearest neighbours.

    With $T_j$ the distance of a token to its j-th nearest neighbour and k = 10 it is the inverse of the mean, over tokens and
    over j < k, of $\ln(T_k/T_j)$: inverses are averaged, as MacKay and Ghahramani correct it. Tokens whose states are equal
    count as one.

    Raises
    ------
    MeasureError
        For fewer than eleven different states, and where all ten neighbours are equally far.

    Examples
    --------
    >>> plane = np.random.default_rng(0).uniform(size=(2000, 2)) @ np.array([[1.0, 0, 2], [0, 1, 1]])
    >>> round(mle_dimension(plane), 1)  # nearly 2: near an edge neighbours are on one side
    1.9
    """
    distance = _apart(states, _NEAREST, "mle_dimension")
    mean = float(np.log(distance[:, -1:] / distance[:, :-1]).mean())
    if not mean:
        raise MeasureError("mle_dimension has no meaning where all nearest neighbours are equally far; leave it out")
    return 1 / mean


def _apart(
    states: Float[np.ndarray, "token feature"], count: int, name: str
) -> Float[np.ndarray, "distinct neighbour"]:
    """Compute the distances to the nearest different states."""
    different = states[distinct_rows(torch.from_numpy(states))]
    tokens = len(different)
    if tokens <= count:
        raise MeasureError(
            f"{name} needs at least {count + 1} different states, got {tokens}: capture more texts, or leave the measure out"
        )
    return nearest(different - different.mean(0), count)


DIMENSIONS: dict[str, tuple[Callable[[Float[np.ndarray, "token feature"]], float], str]] = {
    "two_nn": (two_nn, "two"),
    "mle_dimension": (mle_dimension, "ten"),
}
"""The family's measures, and how many neighbours each looks at, in words."""


class IntrinsicDimension(Estimator):
    """Intrinsic dimensions on the rows held."""

    def update(self, rows: StateRows, other: StateRows | None) -> None:
        """Take nothing: the sample of rows is fed by itself."""

    def merge(self, part: "IntrinsicDimension") -> None:
        """Add nothing."""

    def estimate(self, name: str) -> Estimate:
        """Compute one of the intrinsic dimensions."""
        sides = range(len(self.context.axes))
        values = [self._dimensions(name, side, np.arange(self.sample.kept)) for side in sides]
        chosen: dict[str, int | float | str] = {}
        where = "all tokens"
        if not self.sample.complete:
            where, chosen = "a seeded sample of tokens", {"sample": self.sample.kept, "sample_seed": self.context.seed}
        halves = HalfSamples(self.context, self.sample) if self.context.bootstrap else None
        return Estimate.of_layers(
            values,
            self.sample.kept,
            f"distances to the {DIMENSIONS[name][1]} nearest neighbours of {where}",
            chosen | (halves.chosen if halves else {}),
            replicates=[self._replicates(name, side, halves) for side in sides] if halves else [],
            resampling=halves.resampling if halves else None,
        )

    def _replicates(self, name: str, side: int, halves: HalfSamples) -> Float[np.ndarray, "replicate layer"]:
        return np.stack([self._dimensions(name, side, rows) for rows in halves.rows()])

    def _dimensions(self, name: str, side: int, rows: Int[np.ndarray, " row"]) -> Float[np.ndarray, " layer"]:
        """Compute the dimension of each layer on some of the rows held."""
        axis, hidden = self.context.axes[side], self.sample.settled(side).numpy()
        found = np.empty(len(axis))
        for layer in range(len(axis)):
            with axis.layer_context(layer):
                found[layer] = DIMENSIONS[name][0](hidden[rows, layer].astype(np.float64))
        return found
