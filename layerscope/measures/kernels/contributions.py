"""How much is added to a state, and in which direction."""

import torch
from jaxtyping import Float

__all__ = ["addition_cosines", "addition_ratios"]

_Added = Float[torch.Tensor, "token block feature"]


def addition_ratios(added: _Added, stream: _Added) -> Float[torch.Tensor, "token block"]:
    """Return the norm of each addition over that of the state it is added to; NaN for a state of zeros.

    Examples
    --------
    >>> addition_ratios(torch.tensor([[[3.0, 4.0]]]), torch.tensor([[[0.0, 2.0]]]))
    tensor([[2.5000]], dtype=torch.float64)
    """
    length = stream.double().norm(dim=-1)
    ratios: torch.Tensor = (added.double().norm(dim=-1) / length).where(length > 0, torch.nan)
    return ratios


def addition_cosines(added: _Added, stream: _Added) -> Float[torch.Tensor, "token block"]:
    """Return the cosine of each addition with the state it is added to; NaN if one of them is zero.

    Examples
    --------
    >>> addition_cosines(torch.tensor([[[3.0, 4.0]]]), torch.tensor([[[0.0, 2.0]]]))
    tensor([[0.8000]], dtype=torch.float64)
    """
    lengths = added.double().norm(dim=-1) * stream.double().norm(dim=-1)
    dots = (added.double() * stream.double()).sum(-1)
    cosines: torch.Tensor = (dots / lengths).clamp(-1, 1).where(lengths > 0, torch.nan)
    return cosines
