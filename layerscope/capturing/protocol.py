"""The protocol of a capture backend.

A backend runs the trunk of a model over one padded batch and returns the requested states, padding included. It does not
handle texts, rows or files.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int

from layerscope.models.model import Model
from layerscope.schedules.schedule import Schedule

__all__ = ["Backend", "BatchStates", "CaptureSpec", "Session"]


@dataclass(frozen=True)
class CaptureSpec:
    """The states that a session returns.

    Attributes
    ----------
    layers
        State numbers, ascending: 0 is the stream that enters the first block, l the stream that leaves block l-1. Under a
        schedule, 0 is the stream that enters the first stage, l the stream that leaves the l-th stage.
    final_norm
        Also return the output of the final norm.
    schedule
        The schedule that runs in place of the blocks; None for the model unchanged.
    """

    layers: tuple[int, ...]
    final_norm: bool = False
    schedule: Schedule | None = None


@dataclass(frozen=True)
class BatchStates:
    """The states of one padded batch: one tensor for each layer of the spec, in the dtype of the model."""

    hidden: list[Float[torch.Tensor, "sequence position feature"]]
    final_norm: Float[torch.Tensor, "sequence position feature"] | None = None


Session = Callable[
    [
        Int[torch.Tensor, "sequence position"],
        Int[torch.Tensor, "sequence position"],
        Int[torch.Tensor, "sequence position"] | None,
    ],
    BatchStates,
]
"""Runs one batch: ``session(input_ids, attention_mask, position_ids)``; `position_ids` None means 0, 1, 2, …"""


@runtime_checkable
class Backend(Protocol):
    """A way to read the states of a running model."""

    def session(self, model: Model, spec: CaptureSpec) -> AbstractContextManager[Session]:
        """Prepare `model` for a series of batches, and restore it at the end, also after an exception.

        A session records no gradients and runs nothing after the last state of the spec, in particular no vocabulary head.
        """
        ...
