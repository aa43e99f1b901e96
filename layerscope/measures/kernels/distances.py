"""Euclidean distances between tokens, and what kernels make of them.

This module knows matrices; it knows no measure, no files, no labels.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float

__all__ = ["Distance", "Gaussian", "Kernel", "median_distance", "squared_distances"]

_CANCELLED = 1e-6
"""Squared distances below this part of the squared norms have lost too many digits to be taken from products."""
_PAIRS_AT_ONCE = 4096
_MEDIAN_TOKENS = 1024


def squared_distances(
    rows: Float[torch.Tensor, "layer row feature"], columns: Float[torch.Tensor, "layer column feature"]
) -> Float[torch.Tensor, "layer row column"]:
    """Compute all squared distances: by products of matrices, and those of nearly equal tokens by their differences.

    Equal tokens are therefore at distance zero exactly.

    Examples
    --------
    >>> states = torch.tensor([[[0.0, 1e8], [3.0, 1e8], [3.0, 1e8]]], dtype=torch.float64)
    >>> squared_distances(states, states)[0, :, 1]
    tensor([9., 0., 0.], dtype=torch.float64)
    """
    norms = rows.square().sum(-1)[:, :, None] + columns.square().sum(-1)[:, None]
    squared = torch.baddbmm(norms, rows, columns.mT, alpha=-2)
    close = (squared <= _CANCELLED * norms).nonzero()
    for layer, row, column in (part.unbind(1) for part in torch.split(close, _PAIRS_AT_ONCE)):
        squared[layer, row, column] = (rows[layer, row] - columns[layer, column]).square().sum(-1)
    return squared


class Kernel(ABC):
    """What a similarity or dissimilarity of two tokens is, given their squared distance."""

    @abstractmethod
    def __call__(self, squared: Float[torch.Tensor, "layer row column"]) -> Float[torch.Tensor, "layer row column"]:
        """Compute it of squared distances of each layer."""


class Distance(Kernel):
    """The Euclidean distance itself."""

    def __call__(self, squared: Float[torch.Tensor, "layer row column"]) -> Float[torch.Tensor, "layer row column"]:
        """Take the root."""
        return squared.sqrt()


@dataclass(frozen=True)
class Gaussian(Kernel):
    r"""The radial basis function $\exp(-d^2/2s^2)$.

    Attributes
    ----------
    width
        s, of each layer.
    """

    width: Float[torch.Tensor, " layer"]

    def __call__(self, squared: Float[torch.Tensor, "layer row column"]) -> Float[torch.Tensor, "layer row column"]:
        """Compute it."""
        return torch.exp(squared / (-2 * self.width.square())[:, None, None])


def median_distance(states: Float[torch.Tensor, "token feature"], precision: float = 0.0) -> float:
    """Return the median distance between two different tokens; above 1,024 of them, between evenly spaced ones.

    The precision is not used: states come with rows made equal that are equal but for rounding.

    Examples
    --------
    >>> median_distance(torch.tensor([[0.0], [1.0], [3.0]]))
    2.0
    """
    count = min(len(states), _MEDIAN_TOKENS)
    chosen = torch.linspace(0, len(states) - 1, count, dtype=torch.float64).round().long()
    points = states[chosen].double()
    points = points - points.mean(0)
    squared = squared_distances(points[None], points[None])[0]
    upper = torch.ones(count, count, dtype=torch.bool).triu(1)
    return float(torch.quantile(squared[upper].sqrt(), 0.5))
