"""Clouds of tokens: the centred states of one layer, and the distance of two clouds.

A cloud with fewer tokens than features is rotated (by a QR decomposition) into as many coordinates as it has tokens, which
keeps all inner products between tokens.
"""

import math

import torch
from jaxtyping import Float

__all__ = [
    "Cloud",
    "aligned_features",
    "frobenius_norm",
    "procrustes_distance",
    "rotation_distance",
    "shape_angle",
    "trace",
]


class Cloud:
    """The centred states of some tokens at one layer.

    Parameters
    ----------
    states
        States of one layer; they are centred here.
    """

    def __init__(self, states: Float[torch.Tensor, "token feature"]) -> None:
        exact = states.double()
        self.points = exact - exact.mean(0)
        self._turned: torch.Tensor | None = None

    @property
    def size(self) -> float:
        """The squared Frobenius norm."""
        return float(self.points.square().sum())

    def covariance(self) -> Float[torch.Tensor, "n n"]:
        """Return the sums of products of features, or of tokens where these are fewer: the same eigenvalues."""
        tokens, features = self.points.shape
        return self.points.T @ self.points if features <= tokens else self.points @ self.points.T

    def singular_values(self, weights: Float[torch.Tensor, " feature"]) -> Float[torch.Tensor, " n"]:
        """Return the singular values of the points after each feature is multiplied by its weight."""
        singular: torch.Tensor = torch.linalg.svdvals(self.points * weights)
        return singular

    def cross(self, other: "Cloud") -> Float[torch.Tensor, "n m"]:
        """Return a matrix that has the same singular values as the sums of products of the features of both clouds."""
        tokens, features = self.points.shape
        if tokens < min(features, other.points.shape[1]):
            return self._coordinates() @ other._coordinates().T
        return self.points.T @ other.points

    def _coordinates(self) -> Float[torch.Tensor, "token token"]:
        """Return R of the QR decomposition of the transposed points: the points are R' Q'."""
        if self._turned is None:
            self._turned = torch.linalg.qr(self.points.T, mode="r").R
        return self._turned


def trace(covariance: Float[torch.Tensor, "n n"]) -> float:
    """Return the trace: the squared Frobenius norm of the states."""
    return float(covariance.trace())


def frobenius_norm(covariance: Float[torch.Tensor, "n n"]) -> float:
    """Return the Frobenius norm of a covariance."""
    return float(covariance.norm())


def aligned_features(cross: Float[torch.Tensor, "n m"], size: float, size_other: float) -> float:
    r"""Compute biased CKA from products of features, $\|Y_c'X_c\|_F^2/(\|X_c'X_c\|_F\,\|Y_c'Y_c\|_F)$.

    Parameters
    ----------
    cross
        $X_c'Y_c$.
    size, size_other
        The Frobenius norms of $X_c'X_c$ and $Y_c'Y_c$.

    Examples
    --------
    >>> aligned_features(torch.eye(2), 2**0.5, 2**0.5).__round__(12)
    1.0
    """
    return float(cross.square().sum()) / (size * size_other)


def procrustes_distance(cross: Float[torch.Tensor, "n m"], size: float, size_other: float) -> float:
    r"""Compute $2-2\|X_c'Y_c\|_*$ of two centred clouds, each divided by its Frobenius norm.

    Parameters
    ----------
    cross
        $X_c'Y_c$, or any matrix with the same singular values.
    size, size_other
        The squared Frobenius norms.

    Examples
    --------
    >>> procrustes_distance(torch.eye(2, dtype=torch.float64), 2.0, 2.0)
    0.0
    """
    return 2 - 2 * _overlap(cross, size, size_other)


def rotation_distance(cross: Float[torch.Tensor, "n m"], size: float, size_other: float) -> float:
    r"""Compute $\min_{Q'Q=1}\|X_cQ-Y_c\|_F$, the distance after the best rotation.

    Parameters
    ----------
    cross, size, size_other
        As for `procrustes_distance`. If all are divided by the number of tokens, the result is the root mean square over tokens.

    Examples
    --------
    >>> rotation_distance(torch.eye(2, dtype=torch.float64), 2.0, 2.0)
    0.0
    """
    return math.sqrt(max(0.0, size + size_other - 2 * float(torch.linalg.svdvals(cross).sum())))


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
    return math.acos(min(1.0, _overlap(cross, size, size_other)))  # rounding may give more than 1


def _overlap(cross: Float[torch.Tensor, "n m"], size: float, size_other: float) -> float:
    """Return the sum of the singular values over its maximum, the root of the product of both squared norms."""
    return float(torch.linalg.svdvals(cross).sum()) / math.sqrt(size * size_other)
