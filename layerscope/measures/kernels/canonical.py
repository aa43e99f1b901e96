"""Directions that two layers' features span over tokens, and how far they are the same.

Canonical correlations, linear prediction and eigenspaces are all read off the products of two orthonormal bases. Kernels on
matrices of one or two layers; this module knows nothing else.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float

from layerscope.measures.kernels.rounding import Noise
from layerscope.measures.kernels.undefined import Undefined

__all__ = [
    "KEPT_VARIANCE",
    "OrthonormalBasis",
    "basis_of",
    "canonical_correlation",
    "canonical_r2",
    "centered_basis",
    "eigenspace_overlap",
    "leading_basis",
    "linear_r2",
    "outnumbered",
    "projected_correlation",
    "smaller_projected_correlation",
]

KEPT_VARIANCE = 0.99


@dataclass(frozen=True)
class OrthonormalBasis:
    """The singular value decomposition of a layer's states, as far as their rank goes.

    Attributes
    ----------
    basis
        Orthonormal, in the states' type.
    strength
        The singular values, descending, float64.
    loading
        How much of each feature lies along each direction, float64: basis @ loading gives the states back.
    spent
        How many of the directions that tokens can fill are not there: one where the mean was taken away.
    """

    basis: Float[torch.Tensor, "token direction"]
    strength: Float[torch.Tensor, " direction"]
    loading: Float[torch.Tensor, "direction feature"]
    spent: int

    def __len__(self) -> int:
        return len(self.strength)

    def first(self, count: int) -> "OrthonormalBasis":
        """Keep the strongest directions only."""
        return replace(self, basis=self.basis[:, :count], strength=self.strength[:count], loading=self.loading[:count])


def basis_of(states: Float[torch.Tensor, "token feature"], precision: float) -> OrthonormalBasis:
    """Decompose states as they are; singular values no larger than rounding makes them count as none.

    Parameters
    ----------
    states
        Of one layer.
    precision
        The machine epsilon with which they are known.
    """
    return _decomposed(states.double(), states, precision, 0)


def centered_basis(states: Float[torch.Tensor, "token feature"], precision: float) -> OrthonormalBasis:
    """Decompose states without their mean over tokens, which takes one direction of those that tokens can fill."""
    exact = states.double()
    return _decomposed(exact - exact.mean(0), states, precision, 1)


def outnumbered(found: OrthonormalBasis, different: int) -> OrthonormalBasis:
    """Refuse directions that are as many as tokens can fill, or nearly: they hold whatever another layer does.

    With no more different tokens than features more than half of the possible directions are refused: any two layers of so many
    have some in common.

    Parameters
    ----------
    found
        Of one layer.
    different
        How many tokens are not equal to another at every layer: equal ones add no room for directions.

    Examples
    --------
    >>> outnumbered(centered_basis(torch.eye(3, 5), 1e-7), 3)
    Traceback (most recent call last):
    layerscope.measures.kernels.undefined.Undefined: the measure has no meaning there, because its 3 tokens fill all ...
    """
    tokens, features = len(found.basis), found.loading.shape[1]
    room = different - found.spent
    full = len(found) >= room
    if full or (different <= features and 2 * len(found) > room):
        counted = f"{tokens} tokens" + ("" if different == tokens else f", {different} of them different,")
        filled, value = ("all", "1") if full else (f"{len(found)} of the", "near 1")
        raise Undefined(
            f"its {counted} fill {filled} {room} directions that so many can, so that it is {value} whatever the other "
            "layer: take more tokens than features"
        )
    return found


def leading_basis(found: OrthonormalBasis, different: int) -> OrthonormalBasis:
    """Keep the fewest directions that hold 99 % of the variance; refuse them as `outnumbered` does.

    Examples
    --------
    >>> states = torch.eye(9, 3) * torch.tensor([10.0, 5.0, 0.1])
    >>> len(leading_basis(basis_of(states, 1e-7), 9))
    2
    """
    power = found.strength.square().cumsum(0)
    return outnumbered(found.first(1 + int((power < KEPT_VARIANCE * power[-1]).sum())), different)


def canonical_correlation(first: OrthonormalBasis, second: OrthonormalBasis) -> float:
    """Compute the mean canonical correlation, over as many as the layer of fewer directions has."""
    return float(torch.linalg.svdvals(_products(first, second)).mean(dtype=torch.float64))


def canonical_r2(first: OrthonormalBasis, second: OrthonormalBasis) -> float:
    """Compute the mean squared canonical correlation, which needs no singular value."""
    return float(_products(first, second).square().sum(dtype=torch.float64)) / min(len(first), len(second))


def projected_correlation(first: OrthonormalBasis, second: OrthonormalBasis) -> float:
    r"""Compute the mean of the canonical correlations weighted by $\sum_j|h_i\cdot x_j|$.

    Here $h_i$ is the first layer's i-th canonical variable and $x_j$ its j-th feature.
    """
    turn, correlation, _ = torch.linalg.svd(_products(first, second), full_matrices=False)
    weight = (turn.double().T @ first.loading).abs().sum(1)
    return float((weight * correlation).sum() / weight.sum())


def smaller_projected_correlation(first: OrthonormalBasis, second: OrthonormalBasis) -> float:
    """Compute `projected_correlation` with the weights of the layer of fewer directions, of the first where both have as many."""
    smaller, larger = (first, second) if len(first) <= len(second) else (second, first)
    return projected_correlation(smaller, larger)


def linear_r2(first: OrthonormalBasis, second: OrthonormalBasis) -> float:
    """Compute the part of the first layer's variance that a linear map of the second one's features gives."""
    power = first.strength.square()
    explained = _products(first, second).square().sum(1, dtype=torch.float64)
    return float((power * explained).sum() / power.sum())


def eigenspace_overlap(first: OrthonormalBasis, second: OrthonormalBasis) -> float:
    """Compute the squared Frobenius norm of the products of both bases over the larger number of directions."""
    return float(_products(first, second).square().sum(dtype=torch.float64)) / max(len(first), len(second))


def _decomposed(
    exact: Float[torch.Tensor, "token feature"],
    states: Float[torch.Tensor, "token feature"],
    precision: float,
    spent: int,
) -> OrthonormalBasis:
    """Decompose states in float64, given also as they came: their rounding is of them, not of what is left of them."""
    left, strength, right = torch.linalg.svd(exact, full_matrices=False)
    rank = int((strength > max(exact.shape) * torch.finfo(exact.dtype).eps * strength[0]).sum())
    known = Noise.of(states, precision).rank(float(strength[-1]), lambda weights: torch.linalg.svdvals(exact * weights))
    rank = rank if known is None else min(rank, known)
    if not rank:
        raise Undefined("it is the same for every token")
    basis = left[:, :rank].to(states.dtype)
    return OrthonormalBasis(basis, strength[:rank], strength[:rank, None] * right[:rank], spent)


def _products(first: OrthonormalBasis, second: OrthonormalBasis) -> Float[torch.Tensor, "direction direction_other"]:
    return first.basis.T @ second.basis
