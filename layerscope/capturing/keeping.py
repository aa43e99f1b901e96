"""What every backend shares: how streams are kept while a model runs, and the terms on which it runs.

Streams are kept by reference, so a capture computes exactly what the model computes. A block that writes into the stream in
place would change a state after the fact; the version counter of each tensor shows it, and it is refused.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from layerscope.capturing.protocol import BatchStates, Wanted
from layerscope.errors import CaptureError

__all__ = ["Kept", "LastWantedReached", "Place", "recording_nothing"]

Place = int | Literal["final_norm"]
"""Where a stream is kept: the number of a state, or after the final norm."""


class LastWantedReached(Exception):  # noqa: N818  (a signal, not an error)
    """Raised inside a running model, once all is kept, to skip whatever nobody asked for."""


class Kept:
    """The streams that one run of a model keeps, by reference.

    Parameters
    ----------
    name
        The model's name, for messages.
    wanted
        What is to be kept.
    """

    def __init__(self, name: str, wanted: Wanted) -> None:
        self._name = name
        self._wanted = wanted
        self._streams: dict[Place, tuple[torch.Tensor, int]] = {}

    def clear(self) -> None:
        """Forget all streams, for the next run."""
        self._streams.clear()

    def keep(self, place: Place, stream: torch.Tensor) -> None:
        """Keep `stream`."""
        self._streams[place] = (stream, stream._version)

    def keep_until_last(self, place: Place, stream: torch.Tensor) -> None:
        """Keep `stream`, and end the run with it if it is the last one wanted.

        Raises
        ------
        LastWantedReached
            When all that is wanted is kept.
        """
        self.keep(place, stream)
        if len(self._streams) == len(self._wanted.layers) + self._wanted.final_norm:
            raise LastWantedReached

    def observe(self, number: int, stream: torch.Tensor) -> None:
        """Keep the state of that number, if it is wanted: what a schedule's run calls."""
        if number in self._wanted.layers:
            self.keep_until_last(number, stream)

    def states(self) -> BatchStates:
        """Return what was kept, in the order wanted, and forget it.

        Raises
        ------
        CaptureError
            When a stream was written into after it was kept.
        """
        hidden = [self._untouched(layer) for layer in self._wanted.layers]
        normed = self._untouched("final_norm") if self._wanted.final_norm else None
        self.clear()
        return BatchStates(hidden, normed)

    def _untouched(self, place: Place) -> torch.Tensor:
        stream, version = self._streams[place]
        if stream._version != version:
            raise CaptureError(
                f"{self._name}: state {place} was written into in place after the model had passed it on, so it is lost.\n"
                "Report this model: its row of the architecture table needs a copy."
            )
        return stream


@contextmanager
def recording_nothing() -> Iterator[None]:
    """Run without gradients; outside inference mode too, whose tensors have no version counter to watch."""
    with torch.inference_mode(False), torch.no_grad():
        yield
