"""Compare the directions that the features of two layers span over tokens.

Canonical correlations, linear prediction and the overlap of eigenspaces all come from the product of two orthonormal bases.
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
    "projected_correlation",
    "require_spare_directions",
    "smaller_projected_correlation",
]

KEPT_VARIANCE = 0.99


@dataclass(frozen=True)
class OrthonormalBasis:
    """The singular value decomposition of a layer's states, up to their rank.

    Attributes
    ----------
    basis
        Orthonormal directions over tokens, in the type of the states.
    strength
        Singular values, descending, float64.
    loading
        Component of each feature along each direction, float64: ``basis @ loading`` is the states.
    spent
        Number of directions lost by centring: 1 for centred states, else 0.
    """

    basis: Float[torch.Tensor, "token direction"]
    strength: Float[torch.Tensor, " direction"]
    loading: Float[torch.Tensor, "direction feature"]
    spent: int

    def __len__(self) -> int:
        return len(self.strength)

    def first(self, count: int) -> "OrthonormalBasis":
        """Return only the `count` strongest directions."""
        return replace(self, basis=self.basis[:, :count], strength=self.strength[:count], loading=self.loading[:count])


def basis_of(states: Float[torch.Tensor, "token feature"], precision: float) -> OrthonormalBasis:
    """Decompose the states of one layer without centring; directions within rounding error are left out.

    Parameters
    ----------
    states
        States of one layer.
    precision
        Machine epsilon of the states.
    """
    return _decomposed(states.double(), states, precision, 0)


def centered_basis(states: Float[torch.Tensor, "token feature"], precision: float) -> OrthonormalBasis:
    """Decompose the states of one layer after subtracting their mean over tokens, which removes one possible direction."""
    exact = states.double()
    return _decomposed(exact - exact.mean(0), states, precision, 1)


def require_spare_directions(layer: OrthonormalBasis, different: int) -> OrthonormalBasis:
    """Raise if the directions of a layer fill the space of the tokens, or nearly: any layer would then agree with it.

    If there are no more different tokens than features, a layer may fill at most half of the possible directions: two layers
    that fill more must have some in common.

    Parameters
    ----------
    layer
        Basis of one layer.
    different
        Number of tokens without those that equal another at every layer, which add no possible direction.

    Raises
    ------
    Undefined
        The layer has too many directions.

    Examples
    --------
    >>> require_spare_directions(centered_basis(torch.eye(3, 5), 1e-7), 3)
    Traceback (most recent call last):
    layerscope.measures.kernels.undefined.Undefined: the measure has no meaning there, because its 3 tokens fill all ...
    """
    tokens, features = len(layer.basis), layer.loading.shape[1]
    room = different - layer.spent
    full = len(layer) >= room
    if full or (different <= features and 2 * len(layer) > room):
        counted = f"{tokens} tokens" + ("" if different == tokens else f", {different} of them different,")
        filled, value = ("all", "1") if full else (f"{len(layer)} of the", "near 1")
        raise Undefined(
            f"its {counted} fill {filled} {room} directions that so many tokens can fill: it is {value} for any other "
            "layer. Take more tokens than features"
        )
    return layer


def leading_basis(layer: OrthonormalBasis, different: int) -> OrthonormalBasis:
    """Return the fewest directions that have 99 % of the variance; raise like `require_spare_directions`.

    Examples
    --------
    >>> states = torch.eye(9, 3) * torch.tensor([10.0, 5.0, 0.1])
    >>> len(leading_basis(basis_of(states, 1e-7), 9))
    2
    """
    power = layer.strength.square().cumsum(0)
    return require_spare_directions(layer.first(1 + int((power < KEPT_VARIANCE * power[-1]).sum())), different)


def canonical_correlation(first: OrthonormalBasis, second: OrthonormalBasis) -> float:
    """Compute the mean canonical correlation over the number of directions of the smaller layer."""
    return float(torch.linalg.svdvals(_products(first, second)).mean(dtype=torch.float64))


def canonical_r2(first: OrthonormalBasis, second: OrthonormalBasis) -> float:
    """Compute the mean squared canonical correlation, from the Frobenius norm without singular values."""
    return float(_products(first, second).square().sum(dtype=torch.float64)) / min(len(first), len(second))


def projected_correlation(first: OrthonormalBasis, second: OrthonormalBasis) -> float:
    r"""Compute the mean of the canonical correlations weighted by $\sum_j|h_i\cdot x_j|$.

    Here $h_i$ is the first layer's i-th canonical variable and $x_j$ its j-th feature.
    """
    turn, correlation, _ = torch.linalg.svd(_products(first, second), full_matrices=False)
    weight = (turn.double().T @ first.loading).abs().sum(1)
    return float((weight * correlation).sum() / weight.sum())


def smaller_projected_correlation(first: OrthonormalBasis, second: OrthonormalBasis) -> float:
    """Compute `projected_correlation` with the weights of the layer with fewer directions, of the first if both have the same."""
    smaller, larger = (first, second) if len(first) <= len(second) else (second, first)
    return projected_correlation(smaller, larger)


def linear_r2(first: OrthonormalBasis, second: OrthonormalBasis) -> float:
    """Compute the share of the first layer's variance that a linear map of the second layer's features explains."""
    power = first.strength.square()
    explained = _products(first, second).square().sum(1, dtype=torch.float64)
    return float((power * explained).sum() / power.sum())


def eigenspace_overlap(first: OrthonormalBasis, second: OrthonormalBasis) -> float:
    """Compute the squared Frobenius norm of the product of both bases over the larger number of directions."""
    return float(_products(first, second).square().sum(dtype=torch.float64)) / max(len(first), len(second))


def _decomposed(
    exact: Float[torch.Tensor, "token feature"],
    states: Float[torch.Tensor, "token feature"],
    precision: float,
    spent: int,
) -> OrthonormalBasis:
    """Decompose `exact`, the states in float64, centred or not; the rounding error is estimated from the original `states`."""
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
