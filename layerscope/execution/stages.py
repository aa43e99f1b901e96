"""One stage: its blocks run one after another on the same stream, and the mean of what they give."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch

from layerscope.execution.slots import Slot, with_slot
from layerscope.execution.taps import BlockCalls, Stream
from layerscope.schedules.schedule import Stage

__all__ = ["Outputs", "mean_stream", "one_by_one"]

Outputs = Callable[[BlockCalls, Stage, Stream, Sequence[Slot]], Iterator[Stream]]
"""Gives what each block of a stage makes of a stream, each with its slot, in whatever order."""


def one_by_one(calls: BlockCalls, stage: Stage, stream: Stream, slots: Sequence[Slot]) -> Iterator[Stream]:
    """Run the blocks of a stage one after another, each when its output is asked for."""
    for block, slot in zip(stage, slots, strict=True):
        yield with_slot(calls, block, stream, slot)


def mean_stream(outputs: Iterable[Stream]) -> Stream:
    """Average what the blocks of a stage give; a single output comes back as it is.

    Half precision is summed in float32. An output is asked for when the one before has been added, so that those of a wide stage
    need not stand side by side.

    Examples
    --------
    >>> mean_stream(torch.full((1, 1, 2), value) for value in (0.0, 1.0))
    tensor([[[0.5000, 0.5000]]])
    """
    rest = iter(outputs)
    total, count = next(rest), 1
    dtype = total.dtype
    for output in rest:
        total = total.to(torch.promote_types(dtype, torch.float32)) + output.to(total.device)
        count += 1
    return total if count == 1 else (total / count).to(dtype)
