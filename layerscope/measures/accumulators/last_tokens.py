"""The last token of each sequence, and the angles between its states.

Small angles are lost in float32 (the arccosine of 1 - 6e-8 is already 3e-4), so these few tokens are multiplied in float64.
"""

import numpy as np
import torch
from jaxtyping import Float

from layerscope.measures.kernels.lengths import angles_between
from layerscope.states import StateRows

__all__ = ["LastTokens"]


class LastTokens:
    """Angular distances of the last stored token of each sequence.

    Attributes
    ----------
    position
        The highest position seen, per sequence; -1 before the first token.
    angle
        ``[sequence, layer, layer_other]``, in units of π; NaN where a state is all zeros.
    """

    def __init__(self, layers: int, layers_other: int) -> None:
        self.position = np.full(1, -1, np.int64)
        self.angle: Float[np.ndarray, "sequence layer layer_other"] = np.full((1, layers, layers_other), np.nan)

    def update(self, rows: StateRows, other: StateRows | None) -> None:
        """Keep the rows whose position is higher than any before in their sequence."""
        order = np.lexsort((rows.position, rows.sequence_index))
        slot = rows.sequence_index[order]
        last = order[np.append(slot[1:] != slot[:-1], True)] if len(order) else order
        self._grow(int(rows.sequence_index.max(initial=-1)) + 1)
        last = last[rows.position[last] > self.position[rows.sequence_index[last]]]
        if len(last):
            chosen = torch.from_numpy(last)
            angle = _angles(rows.hidden[chosen], None if other is None else other.hidden[chosen])
            self.position[rows.sequence_index[last]] = rows.position[last]
            self.angle[rows.sequence_index[last]] = angle.numpy()

    def merge(self, part: "LastTokens") -> None:
        """Keep the tokens of another accumulator whose position is higher."""
        self._grow(len(part.position))
        later = np.flatnonzero(part.position > self.position[: len(part.position)])
        self.position[later], self.angle[later] = part.position[later], part.angle[later]

    def _grow(self, sequences: int) -> None:
        room = len(self.position)
        if sequences > room:
            more = max(sequences, 2 * room) - room
            self.position = np.append(self.position, np.full(more, -1, np.int64))
            self.angle = np.concatenate([self.angle, np.full((more, *self.angle.shape[1:]), np.nan)])


def _angles(
    hidden: Float[torch.Tensor, "token layer feature"], other: Float[torch.Tensor, "token layer_other feature"] | None
) -> Float[torch.Tensor, "token layer layer_other"]:
    left = hidden.double()
    left = left / left.norm(dim=-1, keepdim=True)
    right = left if other is None else other.double() / other.double().norm(dim=-1, keepdim=True)
    return angles_between(left, right) / torch.pi  # NaN for an all-zero state
