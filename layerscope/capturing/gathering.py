"""Gather the selected tokens of each state into rows while the model runs.

Each state is gathered, cast to the type of the rows and checked directly after its computation, on its device, while it is in the
cache. The model can then use its memory again. On an accelerator, one asynchronous copy brings the rows of a batch to the host
while the next batch runs. Two buffers take turns: new memory costs more than the copying.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Queue
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from layerscope.capturing.batch_rows import BatchRows
from layerscope.capturing.protocol import CaptureSpec, StateKey
from layerscope.states import MEAN, StateRows
from layerscope.store.finite import storable
from layerscope.stream_names import STREAMS

__all__ = ["GatheredBatch", "Gatherer"]

_BUFFERS = 2


class _Buffer:
    """Memory for the rows of one batch, on the device of the states and on the host; it grows as needed."""

    def __init__(self) -> None:
        self._device = self._host = torch.empty(0)

    def reserve(self, size: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        """Return memory for some numbers on a device."""
        if self._device.numel() < size or self._device.dtype != dtype or self._device.device != device:
            with torch.inference_mode(False):  # otherwise it could not be written outside inference mode
                self._device = torch.empty(size, dtype=dtype, device=device)
                cpu = device.type == "cpu"
                pinned = device.type == "cuda"
                self._host = self._device if cpu else torch.empty(size, dtype=dtype, pin_memory=pinned)
        return self._device[:size]

    def on_host(self, size: int) -> torch.Tensor:
        """Return as many numbers on the host; a copy from an accelerator may still be under way."""
        if self._host is not self._device:
            self._host[:size].copy_(self._device[:size], non_blocking=True)
        return self._host[:size]


@dataclass(frozen=True)
class GatheredBatch:
    """The states of one batch as rows, which a copy may still be filling.

    Attributes
    ----------
    batch
        The tokens.
    states
        Their states on the host, one layer after another; see `CaptureSpec.keys`.
    sound
        Whether all states are finite and none vanishes in the type of the rows.
    """

    batch: BatchRows
    states: Float[torch.Tensor, "layer token feature"]
    sound: Bool[torch.Tensor, ""]
    _spec: CaptureSpec
    _parts: list[BatchRows]
    _buffer: _Buffer
    _copied: Any

    def wait(self) -> bool:
        """Wait for the copy; return whether the states are sound."""
        if self._copied is not None:
            self._copied.synchronize()
        return bool(self.sound)

    def rows(self) -> StateRows:
        """Return the rows; they are valid until the batch is released."""
        spec, labels = self._spec, [part.labels() for part in self._parts]
        sizes = [len(spec.layers), *(len(spec.blocks) for _ in spec.streams), int(spec.final_norm)]
        hidden, *added, norm = (states.transpose(0, 1) for states in torch.split(self.states, sizes))
        fields: dict[str, Any] = {name: np.concatenate([one[name] for one in labels]) for name in labels[0]}
        fields |= {STREAMS[stream]: states for stream, states in zip(spec.streams, added, strict=True)}
        fields |= {"final_norm": norm[:, 0]} if spec.final_norm else {}
        return StateRows(hidden, **fields, checked=self.states.dtype)


class Gatherer:
    """Gathers the states of one batch after another; `take` receives them from a session.

    A batch may run in parts, each of some of its lines::

        gatherer.begin(batch)
        gatherer.run(batch)            # then the session passes every state to `take`
        gathered = gatherer.end()
        ...
        gatherer.release(gathered)

    Parameters
    ----------
    spec
        The states to gather.
    dtype
        The type of the rows; None for that of the states.
    reuse
        Whether the memory of a batch is used again after its release.
    """

    def __init__(self, spec: CaptureSpec, dtype: torch.dtype | None = None, *, reuse: bool = True) -> None:
        self._spec, self._dtype, self._reuse = spec, dtype, reuse
        self._number = {key: number for number, key in enumerate(spec.keys)}
        self._free: Queue[_Buffer] = Queue()
        for _ in range(_BUFFERS):
            self._free.put(_Buffer())
        self._copying: dict[torch.device, Any] = {}

    def begin(self, batch: BatchRows) -> None:
        """Begin a batch; wait until a buffer is free."""
        self._batch, self._parts = batch, list[BatchRows]()
        self._buffer = self._free.get()
        self._states: torch.Tensor | None = None
        self._sound: torch.Tensor | None = None
        self._done = 0

    def run(self, part: BatchRows) -> None:
        """Expect the states of some lines of the batch; after a failure, of the same or fewer lines once more."""
        self._part = _Lines(part)

    def done(self) -> None:
        """Keep the states of the lines that ran."""
        self._parts.append(self._part.batch)
        self._done += self._part.rows

    @torch.no_grad()
    def take(self, key: StateKey, stream: Float[torch.Tensor, "... feature"]) -> None:
        """Gather, cast and check one state of the part that runs."""
        if not self._part.rows:
            return
        out = self._memory(stream)[self._number[key], self._done : self._done + self._part.rows]
        states = self._part.gather(stream, out if out.dtype == stream.dtype and out.device == stream.device else None)
        if states is not out:
            out.copy_(states)
        assert self._sound is not None
        self._sound &= storable(states, out.to(states.device)).to(self._sound.device)

    def end(self) -> GatheredBatch:
        """End the batch; begin to copy its rows to the host."""
        if self._states is None or self._sound is None:
            states, sound = torch.empty(len(self._number), 0, 1), torch.tensor(True)
            return GatheredBatch(self._batch, states, sound, self._spec, self._parts, self._buffer, None)
        with _while_computing(self._states.device, self._copying) as copied:
            host = self._buffer.on_host(self._states.numel()).view(self._states.shape)
            sound = self._sound.to("cpu", non_blocking=copied is not None)
        return GatheredBatch(self._batch, host, sound, self._spec, self._parts, self._buffer, copied)

    def release(self, gathered: GatheredBatch) -> None:
        """Let a later batch use the memory of this one."""
        self._free.put(gathered._buffer if self._reuse else _Buffer())

    def _memory(self, stream: torch.Tensor) -> torch.Tensor:
        """Return the memory of the batch, which the first state decides: its type, its width and its device."""
        if self._states is None:
            shape = (len(self._number), self._batch.rows, stream.shape[-1])
            memory = self._buffer.reserve(int(np.prod(shape)), self._dtype or stream.dtype, stream.device)
            self._states, self._sound = memory.view(shape), torch.ones((), dtype=torch.bool, device=stream.device)
        return self._states


@contextmanager
def _while_computing(device: torch.device, streams: dict[torch.device, Any]) -> Iterator[Any]:
    """Copy while later work runs, after the work queued so far; yield an event to wait for, on CUDA only."""
    if device.type != "cuda":
        yield None
        return
    cuda: Any = torch.cuda
    stream = streams.setdefault(device, cuda.Stream(device))
    stream.wait_stream(cuda.current_stream(device))
    with cuda.stream(stream):
        copied = cuda.Event()
        yield copied
        copied.record(stream)


class _Lines:
    """The selected tokens of some lines of a padded batch, in input order."""

    def __init__(self, batch: BatchRows) -> None:
        self.batch, self.rows = batch, batch.rows
        self._length = max(map(len, batch.token_ids))
        self._lines = batch.order
        self._means = self.rows > 0 and batch.positions[0].tolist() == [MEAN]
        places = [line * self._length + batch.positions[line] for line in self._lines]
        self._places = {torch.device("cpu"): torch.from_numpy(np.concatenate(places).astype(np.int64))}

    def gather(
        self, stream: Float[torch.Tensor, "... feature"], out: Float[torch.Tensor, "token feature"] | None
    ) -> Float[torch.Tensor, "token feature"]:
        """Return the states of the selected tokens, or of each line the mean over its tokens; in `out`, if it is given."""
        if self._means:
            return self._mean(stream.reshape(len(self._lines), self._length, -1))
        return torch.index_select(stream.reshape(-1, stream.shape[-1]), 0, self._on(stream.device), out=out)

    def _mean(self, stream: Float[torch.Tensor, "line position feature"]) -> Float[torch.Tensor, "line feature"]:
        wide = torch.float32 if stream.device.type == "mps" else torch.float64
        lengths = [len(self.batch.token_ids[line]) for line in self._lines]
        means = [stream[line, :length].mean(0, dtype=wide) for line, length in zip(self._lines, lengths, strict=True)]
        return torch.stack(means).to(stream.dtype)

    def _on(self, device: torch.device) -> Int[torch.Tensor, " token"]:
        if device not in self._places:
            self._places[device] = self._places[torch.device("cpu")].to(device)
        return self._places[device]
