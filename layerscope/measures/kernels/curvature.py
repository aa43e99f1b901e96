"""The turning angles along the path of a sequence's states."""

import torch
from jaxtyping import Float

from layerscope.measures.kernels.lengths import unit_angles
from layerscope.measures.kernels.rounding import rounding_scale, row_tolerance

__all__ = ["turning_angles"]

_SHORT = 0.1
"""A step shorter than this fraction of the state's length may be only rounding, and is checked."""


def turning_angles(
    states: Float[torch.Tensor, "token layer feature"], precision: float
) -> Float[torch.Tensor, "turn layer"]:
    r"""Compute the angle between each two successive steps $x_{t+1}-x_t$ and $x_{t+2}-x_{t+1}$, in radians.

    NaN where a step is zero within rounding error, given by the precision of the states.

    Examples
    --------
    >>> path = torch.tensor([[0.0, 0], [1, 0], [2, 0], [2, 1]]).double()
    >>> turning_angles(path[:, None], 1e-16).T
    tensor([[0.0000, 1.5708]], dtype=torch.float64)
    """
    exact = states.double()
    step = exact.diff(dim=0)
    length = torch.linalg.vector_norm(step, dim=-1, keepdim=True)
    short = (length[..., 0] < _SHORT * torch.linalg.vector_norm(exact[1:], dim=-1)).nonzero().unbind(1)
    apart = rounding_scale(exact[1:][short]) - rounding_scale(exact[:-1][short])
    still = torch.linalg.vector_norm(apart, dim=1) <= row_tolerance(precision)
    length[short] = length[short].where(~still[:, None], 0)
    step = step / length
    return unit_angles(step[:-1], step[1:])
