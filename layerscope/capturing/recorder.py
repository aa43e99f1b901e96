"""Record states while a model runs, for every backend.

A state is passed on directly after its computation, or recorded by reference, without a copy. A block that later modifies a
recorded tensor in place would change the state; the version counter of the tensor shows it, and the session stops.
"""

import torch

from layerscope.capturing.protocol import BatchStates, CaptureSpec, Receive, StateKey
from layerscope.errors import CaptureError
from layerscope.execution.scheduled import mean_stream

__all__ = ["AllRecorded", "StateRecorder"]


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
    receive
        Receives each state at once; `states` then returns none.
    """

    def __init__(self, name: str, spec: CaptureSpec, receive: Receive | None = None) -> None:
        self._name = name
        self._spec = spec
        self._receive = receive
        self._wanted = set(spec.keys)
        self._passed: set[StateKey] = set()
        self._streams: dict[StateKey, tuple[torch.Tensor, int]] = {}
        self._stage: dict[str, list[torch.Tensor]] = {stream: [] for stream in spec.streams}

    def clear(self) -> None:
        """Drop all states, before the next batch."""
        self._streams.clear()
        self._passed.clear()
        for added in self._stage.values():
            added.clear()

    def record(self, key: StateKey, stream: torch.Tensor) -> None:
        """Record one state of the spec.

        Raises
        ------
        AllRecorded
            It was the last state of the spec.
        """
        if self._receive is None:
            self._streams[key] = (stream, stream._version)
        else:
            self._receive(key, stream)
        self._passed.add(key)
        if self._passed == self._wanted:
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

    def states(self, lines: int) -> BatchStates:
        """Return the recorded states in the order of the spec, and drop them.

        Parameters
        ----------
        lines
            Number of sequences. Some blocks flatten their contributions, which are returned in the shape of the stream.

        Raises
        ------
        CaptureError
            A state was modified after it was recorded.
        """
        if self._receive is not None:
            missing = self._wanted - self._passed
            self.clear()
            if missing:
                raise CaptureError(f"{self._name}: the model ran without computing {sorted(map(str, missing))}")
            return BatchStates([])
        hidden = [self._unmodified(layer) for layer in self._spec.layers]
        normed = self._unmodified("final_norm") if self._spec.final_norm else None
        of_blocks: dict[str, list[torch.Tensor]] = {stream: [] for stream in self._spec.streams}
        for key in self._spec.of_blocks:
            added = self._unmodified(key)
            of_blocks[key[0]].append(added.reshape(lines, -1, added.shape[-1]))
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
