"""Rows of captured states, passed from the model to files and measures.

This module depends on neither models nor files.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int

__all__ = ["Sink", "StateRows"]


@dataclass(frozen=True)
class StateRows:
    """Some token rows, each with the states of every captured layer.

    Attributes
    ----------
    hidden
        The residual stream, ``[token, layer, feature]``.
    row
        The number of each token's row in the whole capture, in input order; rows may arrive in any order.
    sequence_index, position, token_id
        The sequence of each token, its 0-based position in it, and its id.
    final_norm
        The output of the norm after the last block, if requested.
    """

    hidden: Float[torch.Tensor, "token layer feature"]
    row: Int[np.ndarray, " token"]
    sequence_index: Int[np.ndarray, " token"]
    position: Int[np.ndarray, " token"]
    token_id: Int[np.ndarray, " token"]
    final_norm: Float[torch.Tensor, "token feature"] | None = None

    def __len__(self) -> int:
        return len(self.row)

    def select(self, keep: np.ndarray) -> "StateRows":
        """Return the rows where the boolean array `keep` is True."""
        if keep.all():
            return self
        kept = torch.from_numpy(np.flatnonzero(keep)).to(self.hidden.device)
        return StateRows(
            self.hidden[kept],
            self.row[keep],
            self.sequence_index[keep],
            self.position[keep],
            self.token_id[keep],
            None if self.final_norm is None else self.final_norm[kept],
        )


@runtime_checkable
class Sink(Protocol):
    """Receiver of rows during a capture: a file being written, an accumulator."""

    def update(self, rows: StateRows) -> None:
        """Receive rows, in any order and grouping."""
        ...
