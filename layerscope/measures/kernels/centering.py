"""Centre states, and compute means that massive tokens do not shift."""

import torch
from jaxtyping import Float

__all__ = ["centered", "ordinary_mean"]

_ORDINARY = 8


def centered(
    hidden: Float[torch.Tensor, "token layer feature"], mean: Float[torch.Tensor, "layer feature"]
) -> Float[torch.Tensor, "token layer feature"]:
    """Subtract float64 means from states without rounding the means to the type of the states first.

    The mean is subtracted in two parts: rounded to the type of the states, and the rest. Float32 states near a mean of 1,000
    then keep seven digits of their deviation, not of the mean.
    """
    coarse = mean.to(hidden.dtype)
    deviation = hidden - coarse
    return deviation if hidden.dtype == torch.float64 else deviation.sub_((mean - coarse.double()).to(hidden.dtype))


def ordinary_mean(hidden: Float[torch.Tensor, "token layer feature"]) -> Float[torch.Tensor, "layer feature"]:
    """Return an approximate mean of each layer's ordinary tokens, whose largest value is at most 8 times the median one.

    Measures that do not change when all tokens are shifted keep most digits about this centre. The mean of all tokens may be
    far from all tokens if one is massive.

    Examples
    --------
    >>> ordinary_mean(torch.tensor([[[1.0]], [[3.0]], [[2.0]], [[1e6]]]))
    tensor([[2.]], dtype=torch.float64)
    """
    peak = hidden.abs().amax(2)
    ordinary = (peak <= _ORDINARY * peak.median(0).values).to(hidden.dtype)
    ordinary /= ordinary.sum(0)
    return torch.stack([weight @ hidden[:, layer] for layer, weight in enumerate(ordinary.T)]).double()
