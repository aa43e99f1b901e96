"""Representational similarity analysis: the dissimilarities between the tokens of one layer, as vectors to correlate."""

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import kendalltau, rankdata

from layerscope.measures.kernels.rounding import value_tolerance
from layerscope.measures.kernels.undefined import Undefined

__all__ = ["centered_ranks", "centered_values", "cosines", "dissimilarities", "kendall", "nonzero_values", "ranked"]

_DECIMALS = 12
_COLUMNS = 65_536


def dissimilarities(states: Float[torch.Tensor, "token feature"], precision: float) -> Float[torch.Tensor, " pair"]:
    r"""Compute 1 - Pearson's correlation over features of all pairs of tokens s < t, rounded to twelve decimals.

    Without the rounding, pairs of equally similar tokens could get different ranks from errors of their products.

    Examples
    --------
    >>> dissimilarities(torch.tensor([[1.0, 2.0, 3.0], [0.0, 5.0, 10.0], [3.0, 2.0, 1.0]]), 1e-7)
    tensor([0., 2., 2.], dtype=torch.float64)
    """
    exact = states.double()
    deviation = exact - exact.mean(1, keepdim=True)
    length = deviation.norm(dim=1, keepdim=True)
    if (length <= value_tolerance(precision) * exact.norm(dim=1, keepdim=True)).any():
        raise Undefined("a token of it has one value in all its features")
    unit = deviation / length
    correlation = unit @ unit.T
    upper = torch.cat([row[index + 1 :] for index, row in enumerate(correlation)])
    return upper.neg_().add_(1).round_(decimals=_DECIMALS)


def nonzero_values(values: Float[torch.Tensor, " pair"]) -> Float[torch.Tensor, " pair"]:
    """Return the dissimilarities unchanged, for their cosine; raise if all are zero."""
    if not values.any():
        raise Undefined("its tokens are all equally alike")
    return values


def centered_values(values: Float[torch.Tensor, " pair"]) -> Float[torch.Tensor, " pair"]:
    """Subtract the mean, for Pearson's correlation."""
    return _varying(values) - values.mean()


def centered_ranks(values: Float[torch.Tensor, " pair"]) -> Float[torch.Tensor, " pair"]:
    """Return ranks minus their mean, ties at their mean rank, for Spearman's correlation.

    Examples
    --------
    >>> centered_ranks(torch.tensor([0.5, 0.1, 0.5, 0.7], dtype=torch.float64))
    tensor([ 0.0000, -1.5000,  0.0000,  1.5000], dtype=torch.float64)
    """
    return torch.from_numpy(rankdata(_varying(values).numpy())) - (len(values) + 1) / 2


def ranked(states: Float[torch.Tensor, "token feature"], precision: float) -> Float[np.ndarray, " pair"]:
    """Compute the centred ranks of the dissimilarities of tokens."""
    return centered_ranks(dissimilarities(states, precision)).numpy()


def kendall(first: Float[np.ndarray, " pair"], second: Float[np.ndarray, " pair"]) -> float:
    r"""Compute Kendall's $\tau_b$, which leaves ties out.

    Examples
    --------
    >>> kendall(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0])).__round__(4)
    0.3333
    """
    return float(kendalltau(first, second).statistic)


def cosines(
    first: Float[torch.Tensor, "layer pair"], second: Float[torch.Tensor, "layer_other pair"]
) -> Float[np.ndarray, "layer layer_other"]:
    """Compute the cosines of all pairs of vectors, in float64.

    Examples
    --------
    >>> cosines(torch.tensor([[3.0, 0.0]]), torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
    array([[1., 0.]])
    """
    ratio: np.ndarray = _products(first, second) / np.outer(_lengths(first), _lengths(second))
    return ratio


def _products(
    first: Float[torch.Tensor, "layer pair"], second: Float[torch.Tensor, "layer_other pair"]
) -> Float[np.ndarray, "layer layer_other"]:
    """Multiply in float64, which is cheap in comparison with the dissimilarities."""
    total = torch.zeros(len(first), len(second), dtype=torch.float64)
    for left, right in zip(torch.split(first, _COLUMNS, 1), torch.split(second, _COLUMNS, 1), strict=True):
        total += left.double() @ right.double().T
    return total.numpy()


def _lengths(vectors: Float[torch.Tensor, "layer pair"]) -> Float[np.ndarray, " layer"]:
    parts = [part.double().square().sum(1) for part in torch.split(vectors, _COLUMNS, 1)]
    lengths: np.ndarray = torch.stack(parts).sum(0).sqrt().numpy()
    return lengths


def _varying(values: Float[torch.Tensor, " pair"]) -> Float[torch.Tensor, " pair"]:
    if values.min() == values.max():
        raise Undefined("its tokens are all equally alike")
    return values
