"""The protocol of a capture backend.

A backend runs the trunk of a model over one padded batch and returns the requested states, padding included. It does not
handle texts, rows or files.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float

from layerscope.capturing.inputs import Inputs
from layerscope.models.model import Model
from layerscope.models.sublayers import Sublayers
from layerscope.schedules.schedule import Schedule

__all__ = ["Backend", "BatchStates", "CaptureSpec", "Receive", "Session", "StateKey"]


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
    blocks
        Numbers of the blocks of which `streams` are returned, ascending.
    streams
        Contributions of these blocks to return: ``attn``, ``mlp`` or both.
    sublayers
        The sub-layers of every block of the model; empty without `streams`.
    """

    layers: tuple[int, ...]
    final_norm: bool = False
    schedule: Schedule | None = None
    blocks: tuple[int, ...] = ()
    streams: tuple[str, ...] = ()
    sublayers: tuple[Sublayers, ...] = ()

    @property
    def of_blocks(self) -> list[tuple[str, int]]:
        """Each stream of each block that is returned."""
        return [(stream, block) for block in self.blocks for stream in self.streams]

    @property
    def keys(self) -> "list[StateKey]":
        """Each state that is returned: those of the layers, stream by stream those of the blocks, then the final norm."""
        of_blocks = [(stream, block) for stream in self.streams for block in self.blocks]
        last: list[StateKey] = ["final_norm"] if self.final_norm else []
        return [*self.layers, *of_blocks, *last]


@dataclass(frozen=True)
class BatchStates:
    """The states of one padded batch, in the dtype of the model: one tensor for each layer of the spec.

    `attn` and `mlp` have one tensor for each block of the spec, if it has these streams.
    """

    hidden: list[Float[torch.Tensor, "sequence position feature"]]
    final_norm: Float[torch.Tensor, "sequence position feature"] | None = None
    attn: list[Float[torch.Tensor, "sequence position feature"]] = field(default_factory=list)
    mlp: list[Float[torch.Tensor, "sequence position feature"]] = field(default_factory=list)


Session = Callable[[Inputs], BatchStates]
"""Runs one batch."""


StateKey = int | Literal["final_norm"] | tuple[str, int]
"""A state number, the output of the final norm, or a contribution of a block, as ``("attn", 3)``."""

Receive = Callable[[StateKey, torch.Tensor], None]
"""Receives one state of a batch, with its padding, and keeps no reference to it: the model may compute in its memory."""


@runtime_checkable
class Backend(Protocol):
    """A way to read the states of a running model."""

    def session(
        self, model: Model, spec: CaptureSpec, receive: Receive | None = None
    ) -> AbstractContextManager[Session]:
        """Prepare `model` for a series of batches, and restore it at the end, also after an exception.

        With `receive`, each state is passed to it directly after its computation, and the session returns none.

        A session records no gradients and runs nothing after the last state of the spec, in particular no vocabulary head.
        """
        ...
