"""Match single features of two layers by their correlation over tokens."""

import torch
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

from layerscope.measures.kernels.rounding import value_tolerance
from layerscope.measures.kernels.undefined import Undefined

__all__ = ["matched_one_to_one", "matched_to_best", "permutation_distance", "standard_features", "unit_cloud"]


def standard_features(
    states: Float[torch.Tensor, "token feature"], precision: float
) -> Float[torch.Tensor, "token varying"]:
    """Centre each feature and divide it by its norm; leave out features that are the same for every token.

    A feature is the same for every token if it varies by no more than the rounding error, given by the precision.

    Examples
    --------
    >>> standard_features(torch.tensor([[3.0, 7.0], [1.0, 7.0]], dtype=torch.float64), 1e-16)
    tensor([[ 0.7071],
            [-0.7071]], dtype=torch.float64)
    """
    exact = states.double()
    deviation = exact - exact.mean(0)
    size = torch.linalg.vector_norm(deviation, dim=0)
    varying = size > value_tolerance(precision) * torch.linalg.vector_norm(exact, dim=0)
    if not varying.any():
        raise Undefined("it is the same for every token")
    standard: torch.Tensor = deviation[:, varying] / size[varying]
    return standard.to(states.dtype)


def matched_to_best(
    first: Float[torch.Tensor, "token feature"], second: Float[torch.Tensor, "token feature_other"]
) -> float:
    """Compute the mean over the first layer's features of the highest correlation with a feature of the second layer.

    Parameters
    ----------
    first, second
        From `standard_features`.

    Examples
    --------
    >>> matched_to_best(torch.eye(3)[:, :1], torch.eye(3))
    1.0
    """
    return float((first.T @ second).max(1).values.mean(dtype=torch.float64))


def matched_one_to_one(
    first: Float[torch.Tensor, "token feature"], second: Float[torch.Tensor, "token feature_other"]
) -> float:
    """Compute the highest mean correlation of features matched one to one; unmatched features are left out.

    Parameters
    ----------
    first, second
        From `standard_features`.

    Examples
    --------
    >>> matched_one_to_one(torch.eye(3), torch.eye(3)[:, :2])
    1.0
    """
    correlation = (first.T @ second).double().numpy()
    return float(correlation[linear_sum_assignment(correlation, maximize=True)].mean())


def unit_cloud(
    states: Float[torch.Tensor, "token feature"], precision: float = 0.0
) -> Float[torch.Tensor, "token feature"]:
    """Centre states over tokens and divide them by their Frobenius norm, in float64.

    The precision is not used, because no values are compared.

    Examples
    --------
    >>> unit_cloud(torch.tensor([[3.0, 7.0], [1.0, 7.0]]))
    tensor([[ 0.7071,  0.0000],
            [-0.7071,  0.0000]], dtype=torch.float64)
    """
    exact = states.double()
    deviation = exact - exact.mean(0)
    unit: torch.Tensor = deviation / torch.linalg.matrix_norm(deviation)
    return unit


def permutation_distance(
    first: Float[torch.Tensor, "token feature"], second: Float[torch.Tensor, "token feature_other"]
) -> float:
    r"""Compute $\min_P\|XP-Y\|_F^2$ over permutations of features; the narrower side is padded with zeros.

    Parameters
    ----------
    first, second
        From `unit_cloud`.

    Examples
    --------
    >>> turned = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0]])
    >>> abs(round(permutation_distance(unit_cloud(turned), unit_cloud(turned.flip(1))), 12))
    0.0
    """
    overlap = (first.T @ second).numpy()
    return float(2 - 2 * overlap[linear_sum_assignment(overlap, maximize=True)].sum())
