"""How closely the tokens of one layer point in the direction of their mean state."""

import torch
from jaxtyping import Float

from layerscope.measures.kernels.rounding import value_tolerance
from layerscope.measures.kernels.undefined import Undefined

__all__ = ["concentricity"]


def concentricity(states: Float[torch.Tensor, "token feature"], precision: float) -> float:
    r"""Compute the mean over tokens of $\cos(x_t,\bar x)$, where $\bar x$ is the mean state.

    Raises
    ------
    Undefined
        A token or the mean is zero, so it has no direction.

    Examples
    --------
    >>> concentricity(torch.tensor([[3.0, 4.0], [3.0, -4.0]]), 1e-7)
    0.6
    """
    exact = states.double()
    length = exact.norm(dim=1)
    if not length.all():
        raise Undefined("a token of it is all zero and has no direction")
    mean = exact.mean(0)
    size = mean.norm()
    if size <= value_tolerance(precision) * length.mean():
        raise Undefined("its mean is zero but for rounding and has no direction")
    return float((exact @ mean / length).mean() / size)
