"""How evenly the directions of one layer's tokens are spread over the sphere."""

import math

import torch
from jaxtyping import Float

from layerscope.measures.kernels.undefined import Undefined

__all__ = ["uniformity"]

_ROWS = 1024


def uniformity(states: Float[torch.Tensor, "token feature"], precision: float = 0.0) -> float:
    r"""Compute $\ln$ of the mean of $\exp(-2|u_s-u_t|^2)$ over pairs of different tokens of unit length.

    The precision is not used, because no values are compared.

    Examples
    --------
    >>> uniformity(torch.tensor([[3.0, 0.0], [-1.0, 0.0]]))
    -8.0
    """
    exact = states.double()
    length = exact.norm(dim=1, keepdim=True)
    if not length.all():
        raise Undefined("a token of it is all zero and has no direction")
    unit = exact / length
    tokens, total = len(unit), 0.0
    for start in range(0, tokens, _ROWS):
        potential = torch.exp(4 * (unit[start : start + _ROWS] @ unit.T) - 4)
        potential[:, start : start + _ROWS].fill_diagonal_(0)
        total += float(potential.sum())
    return math.log(total / (tokens * (tokens - 1)))
