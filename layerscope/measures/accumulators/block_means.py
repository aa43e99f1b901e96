"""Sums over the tokens of each sequence of one value a block."""

import torch
from jaxtyping import Float, Int

__all__ = ["BlockMeans"]


class BlockMeans:
    """Sums and counts of values over tokens, by sequence and block. A value that is NaN is not counted.

    Parameters
    ----------
    blocks
        Number of blocks.
    """

    def __init__(self, blocks: int) -> None:
        self.total = torch.zeros(0, blocks, dtype=torch.float64)
        self.count = torch.zeros(0, blocks, dtype=torch.float64)

    def update(self, values: Float[torch.Tensor, "token block"], sequence: Int[torch.Tensor, " token"]) -> None:
        """Add some tokens, each to its sequence."""
        self._grow(int(sequence.max()) + 1 if len(sequence) else 0)
        self.total.index_add_(0, sequence, values.nan_to_num(nan=0.0))
        self.count.index_add_(0, sequence, (~values.isnan()).double())

    def merge(self, part: "BlockMeans") -> None:
        """Add the sums of another accumulator."""
        self._grow(len(part.total))
        self.total[: len(part.total)] += part.total
        self.count[: len(part.count)] += part.count

    def _grow(self, sequences: int) -> None:
        missing = sequences - len(self.total)
        if missing > 0:
            more = self.total.new_zeros(max(missing, len(self.total)), self.total.shape[1])
            self.total, self.count = torch.cat([self.total, more]), torch.cat([self.count, more])
