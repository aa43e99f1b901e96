"""Of how many dimensions a layer's tokens look when each is seen with its two nearest neighbours.

Quadratic in tokens, so on the rows held: all up to 4,096, else a seeded sample. This module knows rows; it knows no labels and
no files.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.neighbors import NearestNeighbors

from layerscope.errors import MeasureError
from layerscope.measures.families.family import Family
from layerscope.measures.families.half_samples import HalfSamples
from layerscope.measures.kernels.rounding import distinct_rows
from layerscope.measures.study import Estimate
from layerscope.states import StateRows

__all__ = ["Neighbourhoods", "nearest_two", "two_nn"]

_DISCARDED = 0.1


def nearest_two(states: Float[np.ndarray, "token feature"]) -> Float[np.ndarray, "token 2"]:
    """Compute the distances of each token to its nearest and its second nearest other token.

    Which they are is found by scikit-learn; the distances, which it takes from differences of large products, are then
    computed from the states themselves.

    Examples
    --------
    >>> nearest_two(np.array([[0.0], [1.0], [3.0]]))
    array([[1., 3.],
           [1., 2.],
           [2., 3.]])
    """
    search = NearestNeighbors(n_neighbors=2, algorithm="brute").fit(states)
    nearest = search.kneighbors(return_distance=False)
    apart = [np.linalg.norm(states - states[nearest[:, which]], axis=1) for which in range(2)]
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
    different = states[distinct_rows(torch.from_numpy(states))]
    tokens = len(different)
    if tokens < 3:
        raise MeasureError(
            f"two_nn needs at least 3 different states, got {tokens}: capture more texts, or leave the measure out"
        )
    nearest, second = nearest_two(different - different.mean(0)).T
    ratio = np.log(np.sort(second / nearest))[: int(tokens * (1 - _DISCARDED))]
    if not ratio.any():
        raise MeasureError("two_nn has no meaning where all nearest neighbours are equally far; leave it out")
    height = -np.log1p(-np.arange(1, len(ratio) + 1) / tokens)
    return float(ratio @ height / (ratio @ ratio))


class Neighbourhoods(Family):
    """Intrinsic dimensions on the rows held."""

    def update(self, rows: StateRows, other: StateRows | None) -> None:
        """Take nothing: the sample of rows is fed by itself."""

    def merge(self, part: "Neighbourhoods") -> None:
        """Add nothing."""

    def estimate(self, name: str) -> Estimate:
        """Compute the intrinsic dimension."""
        sides = range(len(self.study.axes))
        values = [self._dimensions(side, np.arange(self.sample.kept)) for side in sides]
        chosen: dict[str, int | float | str] = {}
        where = "all tokens"
        if not self.sample.complete:
            where, chosen = "a seeded sample of tokens", {"sample": self.sample.kept, "sample_seed": self.study.seed}
        halves = HalfSamples(self.study, self.sample) if self.study.bootstrap else None
        return Estimate.of_layers(
            values,
            self.sample.kept,
            f"distances to the two nearest neighbours of {where}",
            chosen | (halves.chosen if halves else {}),
            replicates=[self._replicates(side, halves) for side in sides] if halves else [],
            resampling=halves.resampling if halves else None,
        )

    def _replicates(self, side: int, halves: HalfSamples) -> Float[np.ndarray, "replicate layer"]:
        return np.stack([self._dimensions(side, rows) for rows in halves.rows()])

    def _dimensions(self, side: int, rows: Int[np.ndarray, " row"]) -> Float[np.ndarray, " layer"]:
        """Compute the dimension of each layer on some of the rows held."""
        axis, hidden = self.study.axes[side], self.sample.settled(side).numpy()
        found = np.empty(len(axis))
        for layer in range(len(axis)):
            with axis.naming(layer):
                found[layer] = two_nn(hidden[rows, layer].astype(np.float64))
        return found
