"""Run the next stage of several schedules as one larger batch, where it is the same stage.

A small batch does not fill an accelerator. Schedules that have left their common beginning often call the same blocks later:
skip, repeat and parallel all end with the last blocks of the model.
"""

import warnings
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float

from layerscope.execution.recorded_batch import RecordedBatch
from layerscope.models.interception import Stream
from layerscope.schedules.schedule import Stage
from layerscope.schedules.tree import Node

__all__ = ["FusedBatch", "run_tree_fused"]

_HELD = 16
"""Streams that wait for others of their stage, for each stream of a fused batch. Beyond it, the newest runs next."""


class FusedBatch:
    """One batch, recorded with as many copies as streams run on it together.

    Parameters
    ----------
    record
        Records the batch with a number of copies of each of its parts.
    parts
        Places of each part of the batch: the copies of a part are neighbours.
    """

    def __init__(self, record: Callable[[int], RecordedBatch], parts: Sequence[int]) -> None:
        self._record, self._parts = record, list(parts)
        self._recorded: dict[int, RecordedBatch] = {}
        self._most: int | None = None  # streams that fit the device, once some did not

    @property
    def start(self) -> Stream:
        """State 0 of one copy."""
        return self._copies(1).start

    def run_stage(self, stage: Stage, streams: list[Stream]) -> list[Stream]:
        """Run a stage on several streams of the batch, in smaller groups if they do not fit the memory of the device."""
        outputs: list[Stream] = []
        while len(outputs) < len(streams):
            group = streams[len(outputs) :][: self._most]
            try:
                outputs += self._run(stage, group)
            except torch.OutOfMemoryError:
                if len(group) == 1:
                    raise
                self._halve(len(group))
        return outputs

    def _run(self, stage: Stage, streams: list[Stream]) -> list[Stream]:
        batch, count = self._copies(len(streams)), len(streams)
        if count == 1:
            return [batch.run_stage(stage, streams[0])]
        joined = _join(streams, self._parts).view_as(batch.start)
        outputs = _divide(batch.run_stage(stage, joined), self._parts, count)
        return [output.view_as(streams[0]) for output in outputs]

    def _halve(self, count: int) -> None:
        """Run half as many streams together from now on."""
        self._most = count // 2
        self._recorded.pop(count, None)
        warnings.warn(
            f"the device ran out of memory with {count} schedules in one batch; continuing with {self._most} (--fuse)",
            stacklevel=2,
        )
        torch.cuda.empty_cache()

    def _copies(self, count: int) -> RecordedBatch:
        if count not in self._recorded:
            self._recorded[count] = self._record(count)
        return self._recorded[count]


def _join(streams: Sequence[Stream], parts: list[int]) -> Float[torch.Tensor, "place feature"]:
    """Return the first parts of all streams, then their second parts, and so on."""
    flat = [torch.split(stream.flatten(0, 1).to(streams[0].device), parts) for stream in streams]
    return torch.cat([stream[part] for part in range(len(parts)) for stream in flat])


def _divide(joined: Stream, parts: list[int], count: int) -> list[Float[torch.Tensor, "_ feature"]]:
    pieces = [part.chunk(count) for part in torch.split(joined.flatten(0, 1), [count * part for part in parts])]
    return [torch.cat([part[number] for part in pieces]) for number in range(count)]


def run_tree_fused(
    root: Node,
    start: Stream,
    run_stage: Callable[[Stage, list[Stream]], list[Stream]],
    visit: Callable[[Node, Stream], None],
    at_once: int,
) -> None:
    """Run every node of a prefix tree once, up to `at_once` nodes of the same stage together.

    The first schedule runs first, without company. Then the stage that ends earliest in the model runs next, so that others
    arrive at the later ones.

    Parameters
    ----------
    root, start, visit
        As in `layerscope.execution.scheduled.run_tree`; the order of the nodes is another one.
    run_stage
        Runs one stage on several streams: ``run_stage(stage, streams)``.
    at_once
        Largest number of streams that run together.

    Examples
    --------
    >>> from layerscope.schedules.schedule import Schedule
    >>> from layerscope.schedules.tree import prefix_tree
    >>> tree = prefix_tree([Schedule([(0,), (1,), (2,)]), Schedule([(0,), (2,)]), Schedule([(1,), (2,)])])
    >>> def run_stage(stage, streams):
    ...     print(stage, len(streams))
    ...     return streams
    >>> run_tree_fused(tree, torch.zeros(1, 1, 1), run_stage, lambda node, stream: None, at_once=4)
    (0,) 1
    (1,) 1
    (2,) 1
    (1,) 1
    (2,) 2
    """
    visit(root, start)
    waiting: list[tuple[Node, Stream]] = []
    node, stream = root, start
    while node.children:
        following, *others = node.children.values()
        waiting.extend((other, stream) for other in others)
        [stream] = run_stage(following.stage, [stream])
        node = following
        visit(node, stream)
    while waiting:
        stage = _next_stage(waiting, at_once)
        together = [entry for entry in waiting if entry[0].stage == stage][-at_once:]
        taken = {id(node) for node, _ in together}
        waiting = [entry for entry in waiting if id(entry[0]) not in taken]
        streams = run_stage(stage, [stream for _, stream in together])
        for (node, _), stream in zip(together, streams, strict=True):
            visit(node, stream)
            waiting.extend((child, stream) for child in node.children.values())


def _next_stage(waiting: Sequence[tuple[Node, Stream]], at_once: int) -> Stage:
    if len(waiting) > _HELD * at_once:
        return waiting[-1][0].stage
    return min((node for node, _ in waiting), key=lambda node: (max(node.stage), node.number)).stage
