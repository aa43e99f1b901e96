"""States without their means.

A kernel on arrays of states; this module knows nothing else.
"""

import torch
from jaxtyping import Float

__all__ = ["centred"]


def centred(
    hidden: Float[torch.Tensor, "token layer feature"], mean: Float[torch.Tensor, "layer feature"]
) -> Float[torch.Tensor, "token layer feature"]:
    """Take float64 means from states without rounding the means to the states' type first.

    Float32 states about a mean of 1,000 keep seven digits of their deviation, not of the mean: the mean is taken away in two
    parts, the second what the first one's rounding left.
    """
    coarse = mean.to(hidden.dtype)
    deviation = hidden - coarse
    return deviation if hidden.dtype == torch.float64 else deviation.sub_((mean - coarse.double()).to(hidden.dtype))
