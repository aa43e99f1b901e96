"""Cosines of flattened sequences, from sums over their tokens."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

__all__ = ["WholeSums", "exact_diagonal", "flattened_cosines"]


class WholeSums(NamedTuple):
    """Sums over each sequence that give the cosines of flattened sequences.

    Attributes
    ----------
    dots, squares, squares_other
        Sums over the tokens of each sequence of inner products and squared norms.
    """

    dots: Float[np.ndarray, "sequence layer layer_other"]
    squares: Float[np.ndarray, "sequence layer"]
    squares_other: Float[np.ndarray, "sequence layer_other"]


def flattened_cosines(
    whole: WholeSums, usable: Bool[np.ndarray, " sequence"]
) -> Float[np.ndarray, "sequence layer layer_other"]:
    """Compute the cosine of each flattened sequence at all pairs of layers; 0 for sequences that are not usable.

    Examples
    --------
    >>> whole = WholeSums(np.array([[[6.0]], [[1.0]]]), np.array([[9.0], [0.0]]), np.array([[16.0], [1.0]]))
    >>> flattened_cosines(whole, np.array([True, False])).ravel()
    array([0.5, 0. ])
    """
    below = np.sqrt(whole.squares[:, :, None] * whole.squares_other[:, None, :])
    cosines: np.ndarray = np.divide(whole.dots, below, out=np.zeros_like(whole.dots), where=usable[:, None, None])
    return cosines


def exact_diagonal(
    matrices: Float[np.ndarray, "sequence layer layer"],
    value: Float[np.ndarray, " sequence"] | Bool[np.ndarray, " sequence"],
) -> None:
    """Set the sums of the cosines of a layer with itself to their exact values, which products only approximate."""
    np.einsum("sll->sl", matrices)[...] = value[:, None]
