"""Fill the matrix of a number for each pair of layers, with the pairs shared among threads."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from layerscope.threads import thread_pool

__all__ = ["all_pairs"]


def all_pairs(
    shape: tuple[int, int], compare: Callable[[int, int], float], self_value: float | None, *, symmetric: bool = True
) -> Float[np.ndarray, "layer layer_other"]:
    """Fill a matrix of pairs of layers.

    Parameters
    ----------
    shape
        Number of layers on each side.
    compare
        Function that returns the number of a pair.
    self_value
        Value of a layer with itself if both sides have the same layers; else None.
    symmetric
        Whether the layers of a pair can be exchanged; if both sides have the same layers, only half of the pairs are computed.

    Examples
    --------
    >>> all_pairs((2, 2), lambda layer, other: other - layer, 0.0)
    array([[0., 1.],
           [1., 0.]])
    >>> all_pairs((2, 2), lambda layer, other: other - layer, 0.0, symmetric=False)
    array([[ 0.,  1.],
           [-1.,  0.]])
    """
    alone = self_value is not None
    pairs = [
        (layer, other)
        for layer, other in np.ndindex(shape)
        if not alone or layer < other or (layer > other and not symmetric)
    ]
    result = np.full(shape, np.nan if self_value is None else self_value)
    for (layer, other), value in zip(pairs, thread_pool().map(lambda pair: compare(*pair), pairs), strict=True):
        result[layer, other] = value
        if alone and symmetric:
            result[other, layer] = value
    return result
