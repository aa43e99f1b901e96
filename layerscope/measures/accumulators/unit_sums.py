"""Sums of the unit vectors of tokens, by group."""

import torch
from jaxtyping import Float

__all__ = ["UnitSums"]


class UnitSums:
    """Sums of unit vectors by groups of tokens. An all-zero token has no direction and is not counted.

    Parameters
    ----------
    groups, layers, width
        Number of groups; layers and features of a token's states.
    """

    def __init__(self, groups: int, layers: int, width: int) -> None:
        self.total = torch.zeros(groups, layers, width, dtype=torch.float64)
        self.count = torch.zeros(groups, layers, dtype=torch.float64)

    def update(self, hidden: Float[torch.Tensor, "token layer feature"], group: torch.Tensor) -> None:
        """Add some tokens, each to its group."""
        length = torch.linalg.vector_norm(hidden, dim=-1, dtype=torch.float64)
        unit = hidden * length.reciprocal().where(length > 0, 0).to(hidden.dtype)[:, :, None]
        self.total.index_add_(0, group, unit.double())
        self.count.index_add_(0, group, (length > 0).double())

    def merge(self, part: "UnitSums") -> None:
        """Add the sums of another accumulator."""
        self.total += part.total
        self.count += part.count
