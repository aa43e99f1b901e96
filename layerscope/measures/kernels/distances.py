"""Euclidean distances between tokens, and kernels of them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float

__all__ = ["Distance", "Gaussian", "Kernel", "median_distance", "squared_distances"]

_CANCELLED = 1e-6
"""Squared distances below this fraction of the squared norms have lost too many digits in products."""
_PAIRS_AT_ONCE = 4096
_MEDIAN_TOKENS = 1024


def squared_distances(
    rows: Float[torch.Tensor, "layer row feature"], columns: Float[torch.Tensor, "layer column feature"]
) -> Float[torch.Tensor, "layer row column"]:
    """Compute all squared distances from products of matrices, and those of nearly equal tokens from their differences.

    The distance of equal tokens is therefore exactly zero.

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
    """A similarity or dissimilarity of two tokens, as a function of their squared distance."""

    @abstractmethod
    def __call__(self, squared: Float[torch.Tensor, "layer row column"]) -> Float[torch.Tensor, "layer row column"]:
        """Compute the kernel of the squared distances of each layer."""


class Distance(Kernel):
    """The Euclidean distance itself."""

    def __call__(self, squared: Float[torch.Tensor, "layer row column"]) -> Float[torch.Tensor, "layer row column"]:
        """Return the square root."""
        return squared.sqrt()


@dataclass(frozen=True)
class Gaussian(Kernel):
    r"""The radial basis function $\exp(-d^2/2s^2)$.

    Attributes
    ----------
    width
        The width s of each layer.
    """

    width: Float[torch.Tensor, " layer"]

    def __call__(self, squared: Float[torch.Tensor, "layer row column"]) -> Float[torch.Tensor, "layer row column"]:
        """Compute the radial basis function."""
        return torch.exp(squared / (-2 * self.width.square())[:, None, None])


def median_distance(states: Float[torch.Tensor, "token feature"], precision: float = 0.0) -> float:
    """Return the median distance between two different tokens; of more than 1,024 tokens, evenly spaced ones are used.

    The precision is not used: rows that are equal within rounding are exactly equal in these states.

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
