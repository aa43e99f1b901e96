"""The matrix of a number that two layers have, each pair computed once.

This module knows no measure.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

__all__ = ["all_pairs"]


def all_pairs(
    shape: tuple[int, int], compare: Callable[[int, int], float], self_value: float | None, *, symmetric: bool = True
) -> Float[np.ndarray, "layer layer_other"]:
    """Fill a matrix of pairs of layers.

    Parameters
    ----------
    shape
        How many layers there are on either side.
    compare
        Gives the number of a pair.
    self_value
        A layer's with itself, where both sides are the same layers; else None.
    symmetric
        Whether the layers of a pair may be exchanged: where both sides are the same, half of the pairs are computed.

    Examples
    --------
    >>> all_pairs((2, 2), lambda layer, other: other - layer, 0.0)
    array([[0., 1.],
           [1., 0.]])
    >>> all_pairs((2, 2), lambda layer, other: other - layer, 0.0, symmetric=False)
    array([[ 0.,  1.],
           [-1.,  0.]])
    """
    result = np.empty(shape)
    for layer, other in np.ndindex(shape):
        if self_value is not None and layer == other:
            result[layer, other] = self_value
        elif self_value is not None and symmetric and layer > other:
            result[layer, other] = result[other, layer]
        else:
            result[layer, other] = compare(layer, other)
    return result
