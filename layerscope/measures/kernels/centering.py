"""States without their means, and means that massive tokens do not move.

A kernel on arrays of states; this module knows nothing else.
"""

import torch
from jaxtyping import Float

__all__ = ["centered", "ordinary_mean"]

_ORDINARY = 8


def centered(
    hidden: Float[torch.Tensor, "token layer feature"], mean: Float[torch.Tensor, "layer feature"]
) -> Float[torch.Tensor, "token layer feature"]:
    """Take float64 means from states without rounding the means to the states' type first.

    Float32 states about a mean of 1,000 keep seven digits of their deviation, not of the mean: the mean is taken away in two
    parts, the second what the first one's rounding left.
    """
    coarse = mean.to(hidden.dtype)
    deviation = hidden - coarse
    return deviation if hidden.dtype == torch.float64 else deviation.sub_((mean - coarse.double()).to(hidden.dtype))


def ordinary_mean(hidden: Float[torch.Tensor, "token layer feature"]) -> Float[torch.Tensor, "layer feature"]:
    """Return about the mean of each layer's ordinary tokens: those whose largest value is no more than 8 times the median one.

    Of measures that do not change when all tokens are shifted this is the centre that keeps most digits: the mean of all tokens
    may lie far from all but a massive one.

    Examples
    --------
    >>> ordinary_mean(torch.tensor([[[1.0]], [[3.0]], [[2.0]], [[1e6]]]))
    tensor([[2.]], dtype=torch.float64)
    """
    peak = hidden.abs().amax(2)
    ordinary = (peak <= _ORDINARY * peak.median(0).values).to(hidden.dtype)
    ordinary /= ordinary.sum(0)
    return torch.stack([weight @ hidden[:, layer] for layer, weight in enumerate(ordinary.T)]).double()
