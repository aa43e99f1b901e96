"""Rows of captured states, passed from the model to files and measures.

This module depends on neither models nor files.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from layerscope.stream_names import STREAMS

__all__ = ["MEAN", "Sink", "StateRows", "after_first"]

MEAN = -1
"""The position and the token id of a row that is the mean over a sequence."""


@dataclass(frozen=True)
class StateRows:
    """Some token rows, each with the states of every captured layer.

    Attributes
    ----------
    hidden
        The residual stream, ``[token, layer, feature]``; of no layer if it is not captured.
    row
        The number of each token's row in the whole capture, in input order; rows may arrive in any order.
    sequence_index, position, token_id
        The sequence of each token, its 0-based position in it, and its id.
    final_norm
        The output of the norm after the last block, if requested.
    attn_out, mlp_out
        What attention and MLP of each captured block add to the residual stream, if requested.
    checked
        The type in which all states are known to be finite; None if that is not known.
    """

    hidden: Float[torch.Tensor, "token layer feature"]
    row: Int[np.ndarray, " token"]
    sequence_index: Int[np.ndarray, " token"]
    position: Int[np.ndarray, " token"]
    token_id: Int[np.ndarray, " token"]
    final_norm: Float[torch.Tensor, "token feature"] | None = None
    attn_out: Float[torch.Tensor, "token block feature"] | None = None
    mlp_out: Float[torch.Tensor, "token block feature"] | None = None
    checked: torch.dtype | None = None

    def __len__(self) -> int:
        return len(self.row)

    def select(self, keep: np.ndarray) -> "StateRows":
        """Return the rows where the boolean array `keep` is True."""
        if keep.all():
            return self
        kept = torch.from_numpy(np.flatnonzero(keep)).to(self.hidden.device)
        return self._taken(keep, lambda states: states[kept])

    def part(self, of: slice) -> "StateRows":
        """Return consecutive rows, without a copy."""
        return self._taken(of, lambda states: states[of])

    def with_states(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "StateRows":
        """Return the same rows with every tensor of states changed."""
        return self._taken(slice(None), change)

    def states(self, variable: str) -> Float[torch.Tensor, "token layer feature"]:
        """Return the states of one field, those of the final norm as of one layer."""
        states: torch.Tensor = getattr(self, variable)
        return states if states.ndim == 3 else states[:, None, :]

    def with_added(self, added: Mapping[str, torch.Tensor]) -> "StateRows":
        """Return the same rows with the contributions of some streams, by name."""
        fields: dict[str, Any] = {STREAMS[name]: states for name, states in added.items()}
        return replace(self, **fields)

    def of_stream(self, stream: str) -> "StateRows":
        """Return the same rows with one of `STREAMS` as `hidden`, and no other states."""
        states = getattr(self, STREAMS[stream])
        return replace(self, hidden=states, final_norm=None, attn_out=None, mlp_out=None)

    def _taken(self, of: np.ndarray | slice, change: Callable[[torch.Tensor], torch.Tensor]) -> "StateRows":
        others = {name: getattr(self, name) for name in ("final_norm", "attn_out", "mlp_out")}
        changed: dict[str, Any] = {name: change(states) for name, states in others.items() if states is not None}
        return StateRows(
            change(self.hidden),
            self.row[of],
            self.sequence_index[of],
            self.position[of],
            self.token_id[of],
            **changed,
        )


@runtime_checkable
class Sink(Protocol):
    """Receiver of rows during a capture: a file being written, an accumulator."""

    def update(self, rows: StateRows) -> None:
        """Receive rows, in any order and grouping."""
        ...


def after_first(position: Int[np.ndarray, " token"], count: int) -> Bool[np.ndarray, " token"]:
    """Return which rows are not among the first `count` tokens of their sequence. A mean contains them all.

    Examples
    --------
    >>> after_first(np.array([0, 1, MEAN]), 1), after_first(np.array([0, MEAN]), 0)
    (array([False,  True, False]), array([ True,  True]))
    """
    kept: Bool[np.ndarray, " token"] = (position >= count) | (count == 0)
    return kept
