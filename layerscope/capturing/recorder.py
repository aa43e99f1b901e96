"""Record states while a model runs, for every backend.

States are recorded by reference, without a copy, so a capture does not change what the model computes. A block that later
modifies a recorded tensor in place would change the state; the version counter of the tensor shows it, and the capture stops.
"""

from typing import Literal

import torch

from layerscope.capturing.protocol import BatchStates, CaptureSpec
from layerscope.errors import CaptureError
from layerscope.execution.scheduled import mean_stream

__all__ = ["AllRecorded", "StateKey", "StateRecorder"]

StateKey = int | Literal["final_norm"] | tuple[str, int]
"""A state number, the output of the final norm, or a contribution of a block, as ``("attn", 3)``."""


class AllRecorded(Exception):  # noqa: N818  (a signal, not an error)
    """Raised inside a running model to stop it once all states of the spec are recorded."""


class StateRecorder:
    """Records the states of one batch.

    Parameters
    ----------
    name
        Name of the model, for messages.
    spec
        The states to record.
    """

    def __init__(self, name: str, spec: CaptureSpec) -> None:
        self._name = name
        self._spec = spec
        self._streams: dict[StateKey, tuple[torch.Tensor, int]] = {}
        self._stage: dict[str, list[torch.Tensor]] = {stream: [] for stream in spec.streams}

    def clear(self) -> None:
        """Drop all states, before the next batch."""
        self._streams.clear()
        for added in self._stage.values():
            added.clear()

    def record(self, key: StateKey, stream: torch.Tensor) -> None:
        """Record one state of the spec.

        Raises
        ------
        AllRecorded
            It was the last state of the spec.
        """
        self._streams[key] = (stream, stream._version)
        if len(self._streams) == self._spec.count:
            raise AllRecorded

    def record_added(self, stream: str, block: int, added: torch.Tensor) -> None:
        """Record the contribution of a sub-layer of a block; under a schedule, keep it until the stage ends."""
        if self._spec.schedule is None:
            self.record((stream, block), added)
        else:
            self._stage[stream].append(added)

    def observe(self, number: int, stream: torch.Tensor) -> None:
        """Record the contributions of a stage and the state after it, if requested; the observer of `layerscope.scheduled`."""
        added = {name: blocks.copy() for name, blocks in self._stage.items()}
        for blocks in self._stage.values():
            blocks.clear()
        if number - 1 in self._spec.blocks:
            for name, blocks in added.items():  # a stage averages its blocks, and so their contributions
                self.record((name, number - 1), mean_stream(blocks))
        if number in self._spec.layers:
            self.record(number, stream)

    def states(self, batch: torch.Size) -> BatchStates:
        """Return the recorded states in the order of the spec, and drop them.

        Parameters
        ----------
        batch
            Shape of the token ids. Some blocks flatten their contributions, which are returned in the shape of the stream.

        Raises
        ------
        CaptureError
            A state was modified after it was recorded.
        """
        hidden = [self._unmodified(layer) for layer in self._spec.layers]
        normed = self._unmodified("final_norm") if self._spec.final_norm else None
        of_blocks: dict[str, list[torch.Tensor]] = {stream: [] for stream in self._spec.streams}
        for key in self._spec.of_blocks:
            of_blocks[key[0]].append(self._unmodified(key).reshape(*batch, -1))
        self.clear()
        return BatchStates(hidden, normed, **of_blocks)

    def _unmodified(self, key: StateKey) -> torch.Tensor:
        stream, version = self._streams[key]
        if stream._version != version:
            raise CaptureError(
                f"{self._name}: state {key} was modified in place after it was recorded, so its value is lost.\n"
                "Report this model: its states need a copy."
            )
        return stream
