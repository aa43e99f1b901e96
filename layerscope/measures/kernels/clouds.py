"""The centred states of held rows, one matrix a layer, in whichever space is smaller; how far apart two clouds are.

With fewer tokens than features a cloud is turned (by a QR decomposition) into as many coordinates as it has tokens: all inner
products between tokens stay what they are. This module knows matrices only.
"""

import math

import torch
from jaxtyping import Float

from layerscope.measures.kernels.centring import centred

__all__ = ["Cloud", "procrustes_distance", "shape_angle"]

_AT_ONCE = 1024


class Cloud:
    """The centred states of some tokens at one layer.

    Parameters
    ----------
    states
        Of one layer; centred here.
    """

    def __init__(self, states: Float[torch.Tensor, "token feature"]) -> None:
        mean = states.sum(0, dtype=torch.float64)[None] / len(states)
        self.points = centred(states[:, None], mean)[:, 0]
        self._turned: torch.Tensor | None = None

    @property
    def size(self) -> float:
        """The squared Frobenius norm."""
        return float(self.points.double().square().sum())

    def covariance(self) -> Float[torch.Tensor, "n n"]:
        """Return the sums of products of features, or of tokens where these are fewer: the same eigenvalues."""
        tokens, features = self.points.shape
        return _products(self.points, self.points) if features <= tokens else _products(self.points.T, self.points.T)

    def cross(self, other: "Cloud") -> Float[torch.Tensor, "n m"]:
        """Return a matrix of the singular values of the sums of products of this cloud's and the other's features."""
        tokens, features = self.points.shape
        if tokens < min(features, other.points.shape[1]):
            return self._coordinates() @ other._coordinates().T
        return _products(self.points, other.points)

    def _coordinates(self) -> Float[torch.Tensor, "token token"]:
        """Return R of the QR decomposition of the transposed points, which are R' Q'."""
        if self._turned is None:
            self._turned = torch.linalg.qr(self.points.double().T, mode="r").R
        return self._turned


def procrustes_distance(cross: Float[torch.Tensor, "n m"], size: float, size_other: float) -> float:
    r"""Compute $2-2\|X_c'Y_c\|_*$ of two centred clouds, each divided by its Frobenius norm.

    Parameters
    ----------
    cross
        $X_c'Y_c$, or any matrix of the same singular values.
    size, size_other
        The squared Frobenius norms.

    Examples
    --------
    >>> procrustes_distance(torch.eye(2, dtype=torch.float64), 2.0, 2.0)
    0.0
    """
    return 2 - 2 * _overlap(cross, size, size_other)


def shape_angle(cross: Float[torch.Tensor, "n m"], size: float, size_other: float) -> float:
    r"""Compute $\arccos\|X_c'Y_c\|_*$ of two centred clouds, each divided by its Frobenius norm, in radians.

    Parameters
    ----------
    cross, size, size_other
        As for `procrustes_distance`.

    Examples
    --------
    >>> round(shape_angle(torch.eye(2, dtype=torch.float64), 2.0, 8.0), 4)
    1.0472
    """
    return math.acos(min(1.0, _overlap(cross, size, size_other)))  # rounding may leave more than 1


def _overlap(cross: Float[torch.Tensor, "n m"], size: float, size_other: float) -> float:
    """Sum the singular values, which at most come to the root of the product of both squared norms."""
    return float(torch.linalg.svdvals(cross).sum()) / math.sqrt(size * size_other)


def _products(left: Float[torch.Tensor, "row n"], right: Float[torch.Tensor, "row m"]) -> Float[torch.Tensor, "n m"]:
    """Multiply in the points' type, add up in float64."""
    total = torch.zeros(left.shape[1], right.shape[1], dtype=torch.float64)
    for start in range(0, len(left), _AT_ONCE):
        total += left[start : start + _AT_ONCE].T @ right[start : start + _AT_ONCE]
    return total
