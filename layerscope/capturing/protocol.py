"""What a capture backend is.

A backend runs the trunk of a model over one padded batch and hands back the states it was asked for. It knows nothing of
texts, rows or files; what it returns is the residual stream as the model computed it, padding included.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int

from layerscope.models.model import Model
from layerscope.schedules.schedule import Schedule

__all__ = ["Backend", "BatchStates", "Session", "Wanted"]


@dataclass(frozen=True)
class Wanted:
    """Which states a session hands back.

    Attributes
    ----------
    layers
        State numbers, ascending: 0 is the stream entering the first block, l the stream leaving block l-1; under a
        schedule, 0 the stream entering its first stage, l the stream leaving its l-th.
    final_norm
        Also the output of the norm after the last block.
    schedule
        What runs in place of the blocks; None for the model as it is.
    """

    layers: tuple[int, ...]
    final_norm: bool = False
    schedule: Schedule | None = None


@dataclass(frozen=True)
class BatchStates:
    """The states of one padded batch, one tensor a wanted layer, in the model's dtype."""

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
@runtime_checkable
class Backend(Protocol):
    """One way of reading the states of a model while it runs."""

    def session(self, model: Model, wanted: Wanted) -> AbstractContextManager[Session]:
        """Prepare `model` for a series of batches, and leave it as it was at the end, also after an exception.

        No gradients are recorded, the vocabulary head is never run, and nothing after the last wanted block or stage runs.
        """
        ...
