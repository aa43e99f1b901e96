"""Squared lengths and angles without loss of digits, for states of any scale and for nearly parallel states."""

import torch
from jaxtyping import Bool, Float

__all__ = ["angles_between", "out_of_scale", "squared_lengths", "unit_angles"]

_LEAST, _MOST = 1e-30, 1e30
_NEAR = 1e-4
_PAIRS_AT_ONCE = 4096


def out_of_scale(squares: Float[torch.Tensor, "*any"]) -> Bool[torch.Tensor, "*any"]:
    """Return which squared lengths may have lost digits at the ends of the range of float32; none for float64.

    Examples
    --------
    >>> out_of_scale(torch.tensor([1.0, 1e-36, torch.inf, 0.0]))
    tensor([False,  True,  True,  True])
    """
    if squares.dtype == torch.float64:
        return torch.zeros_like(squares, dtype=torch.bool)
    return (squares < _LEAST) | ~(squares < _MOST)


def squared_lengths(states: Float[torch.Tensor, "*any feature"]) -> Float[torch.Tensor, "*any"]:
    """Compute squared lengths in the type of the states if its range suffices, else in float64.

    Examples
    --------
    >>> squared_lengths(torch.tensor([[3.0, 4.0], [3e25, 4e25]]))
    tensor([2.5000e+01, 2.5000e+51], dtype=torch.float64)
    """
    squares = states.square().sum(-1)
    extreme = out_of_scale(squares)
    exact = squares.double()
    if extreme.any():
        exact[extreme] = states[extreme].double().square().sum(-1)
    return exact


def unit_angles(
    first: Float[torch.Tensor, "*any feature"], second: Float[torch.Tensor, "*any feature"]
) -> Float[torch.Tensor, "*any"]:
    """Compute the angles between corresponding unit vectors, as exactly near 0 and pi as elsewhere.

    Examples
    --------
    >>> unit_angles(torch.tensor([1.0, 0.0]).double(), torch.tensor([1.0, 1e-12]).double())
    tensor(1.0000e-12, dtype=torch.float64)
    """
    angle: torch.Tensor = 2 * torch.atan2((first - second).norm(dim=-1), (first + second).norm(dim=-1))
    return angle


def angles_between(
    first: Float[torch.Tensor, "token layer feature"], second: Float[torch.Tensor, "token layer_other feature"]
) -> Float[torch.Tensor, "token layer layer_other"]:
    """Compute the angles between all pairs of a token's unit vectors from products, and of nearly parallel ones exactly.

    Examples
    --------
    >>> one = torch.tensor([[[0.6, 0.8]]], dtype=torch.float64)
    >>> angles_between(one, torch.cat([one, -one], dim=1))
    tensor([[[0.0000, 3.1416]]], dtype=torch.float64)
    """
    cosine = torch.bmm(first, second.mT)
    near = (cosine.abs() > 1 - _NEAR).nonzero()
    angle = cosine.clamp_(-1, 1).arccos_()
    for token, layer, other in (part.unbind(1) for part in torch.split(near, _PAIRS_AT_ONCE)):
        angle[token, layer, other] = unit_angles(first[token, layer], second[token, other])
    return angle
