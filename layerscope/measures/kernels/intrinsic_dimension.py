"""Intrinsic dimension of a cloud of tokens, from the distances to nearest neighbours."""

import numpy as np
import torch
from jaxtyping import Float
from sklearn.neighbors import NearestNeighbors

from layerscope.measures.kernels.rounding import distinct_rows
from layerscope.measures.kernels.undefined import Undefined

__all__ = ["mle_dimension", "nearest_distances", "two_nn"]

_DISCARDED = 0.1
_NEAREST = 10


def nearest_distances(states: Float[np.ndarray, "token feature"], count: int) -> Float[np.ndarray, "token neighbour"]:
    """Compute the distances of each token to its nearest other tokens, ascending.

    scikit-learn finds the neighbours. The distances are computed again from the states, because scikit-learn takes them from
    differences of large products.

    Examples
    --------
    >>> nearest_distances(np.array([[0.0], [1.0], [3.0]]), 2)
    array([[1., 3.],
           [1., 2.],
           [2., 3.]])
    """
    search = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(states)
    nearest = search.kneighbors(return_distance=False)
    apart = [np.linalg.norm(states - states[nearest[:, which]], axis=1) for which in range(count)]
    return np.sort(np.stack(apart, axis=1), axis=1)


def two_nn(states: Float[np.ndarray, "token feature"]) -> float:
    r"""Compute the intrinsic dimension of Facco et al.: the slope of $-\ln(1-F(\mu))$ over $\ln\mu$.

    $\mu$ is the distance of a token to its second nearest neighbour over that to its nearest, $F$ its empirical distribution
    function, $i/n$ for the $i$-th smallest; the line goes through the origin and leaves out the tenth of the largest $\mu$.
    Tokens whose states are equal count as one.

    Raises
    ------
    Undefined
        There are fewer than three different states, or $\mu$ is 1 for all tokens.

    Examples
    --------
    >>> plane = np.random.default_rng(0).uniform(size=(2000, 2)) @ np.array([[1.0, 0, 2], [0, 1, 1]])
    >>> round(two_nn(plane), 1)
    2.0
    """
    distance = _distances(states, 2)
    tokens = len(distance)
    ratio = np.log(np.sort(distance[:, 1] / distance[:, 0]))[: int(tokens * (1 - _DISCARDED))]
    if not ratio.any():
        raise Undefined("all nearest neighbours of its tokens are equally far")
    height = -np.log1p(-np.arange(1, len(ratio) + 1) / tokens)
    return float(ratio @ height / (ratio @ ratio))


def mle_dimension(states: Float[np.ndarray, "token feature"]) -> float:
    r"""Compute the maximum-likelihood intrinsic dimension of Levina and Bickel from the ten nearest neighbours.

    With $T_j$ the distance of a token to its j-th nearest neighbour and k = 10 it is the inverse of the mean, over tokens and
    over j < k, of $\ln(T_k/T_j)$: inverses are averaged, as MacKay and Ghahramani correct it. Tokens whose states are equal
    count as one.

    Raises
    ------
    Undefined
        There are fewer than eleven different states, or all ten neighbours have the same distance.

    Examples
    --------
    >>> plane = np.random.default_rng(0).uniform(size=(2000, 2)) @ np.array([[1.0, 0, 2], [0, 1, 1]])
    >>> round(mle_dimension(plane), 1)  # below 2: near an edge, neighbours are on one side only
    1.9
    """
    distance = _distances(states, _NEAREST)
    mean = float(np.log(distance[:, -1:] / distance[:, :-1]).mean())
    if not mean:
        raise Undefined("all nearest neighbours of its tokens are equally far")
    return 1 / mean


def _distances(states: Float[np.ndarray, "token feature"], count: int) -> Float[np.ndarray, "distinct neighbour"]:
    """Compute the distances of each token to its nearest different states."""
    different = states[distinct_rows(torch.from_numpy(states))]
    tokens = len(different)
    if tokens <= count:
        raise Undefined(
            f"it has {tokens} different states and needs at least {count + 1}",
            remedy="capture more texts, or leave it out",
        )
    return nearest_distances(different - different.mean(0), count)
