"""Record states while a model runs, for every backend.

States are recorded by reference, without a copy, so a capture does not change what the model computes. A block that later
modifies a recorded tensor in place would change the state; the version counter of the tensor shows it, and the capture stops.
"""

from typing import Literal

import torch

from layerscope.capturing.protocol import BatchStates, CaptureSpec
from layerscope.errors import CaptureError

__all__ = ["AllRecorded", "StateKey", "StateRecorder"]

StateKey = int | Literal["final_norm"]
"""A state number, or the output of the final norm."""


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

    def clear(self) -> None:
        """Drop all states, before the next batch."""
        self._streams.clear()

    def record(self, key: StateKey, stream: torch.Tensor) -> None:
        """Record one state of the spec.

        Raises
        ------
        AllRecorded
            It was the last state of the spec.
        """
        self._streams[key] = (stream, stream._version)
        if len(self._streams) == len(self._spec.layers) + self._spec.final_norm:
            raise AllRecorded

    def observe(self, number: int, stream: torch.Tensor) -> None:
        """Record a state if the spec has its number; the observer of `layerscope.scheduled`."""
        if number in self._spec.layers:
            self.record(number, stream)

    def states(self) -> BatchStates:
        """Return the recorded states in the order of the spec, and drop them.

        Raises
        ------
        CaptureError
            A state was modified after it was recorded.
        """
        hidden = [self._unmodified(layer) for layer in self._spec.layers]
        normed = self._unmodified("final_norm") if self._spec.final_norm else None
        self.clear()
        return BatchStates(hidden, normed)

    def _unmodified(self, key: StateKey) -> torch.Tensor:
        stream, version = self._streams[key]
        if stream._version != version:
            raise CaptureError(
                f"{self._name}: state {key} was modified in place after it was recorded, so its value is lost.\n"
                "Report this model: its row of the architecture table needs a copy."
            )
        return stream
