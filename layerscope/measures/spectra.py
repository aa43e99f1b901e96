"""Shapes of clouds of tokens: how many directions they fill, and how far apart two are up to a rotation.

Kernels on float64 matrices of one or two layers; this module knows nothing else.
"""

import math

import torch
from jaxtyping import Float

__all__ = ["effective_rank", "participation_ratio", "procrustes_distance", "shape_angle"]


def participation_ratio(covariance: Float[torch.Tensor, "n n"]) -> float:
    r"""Compute $(\sum\lambda)^2/\sum\lambda^2$ of the eigenvalues, which needs no eigenvalue: trace and Frobenius norm do.

    Parameters
    ----------
    covariance
        Of features, or the Gram matrix of centred tokens: both have the same eigenvalues but for zeros; any scale.

    Examples
    --------
    >>> participation_ratio(torch.diag(torch.tensor([2.0, 2.0, 0.0], dtype=torch.float64)))
    2.0
    """
    return float(covariance.trace() ** 2 / covariance.square().sum())


def effective_rank(covariance: Float[torch.Tensor, "n n"]) -> float:
    r"""Compute $\exp(-\sum_i q_i\ln q_i)$ with $q=\lambda/\sum\lambda$.

    Parameters
    ----------
    covariance
        As for `participation_ratio`.

    Examples
    --------
    >>> round(effective_rank(torch.diag(torch.tensor([2.0, 2.0, 0.0], dtype=torch.float64))), 12)
    2.0
    """
    share = torch.linalg.eigvalsh(covariance).clamp(min=0)
    share = share / share.sum()
    return math.exp(-float(torch.special.xlogy(share, share).sum()))


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
