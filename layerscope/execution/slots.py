"""One slot of key-value cache for each block call of a schedule.

A block that runs twice has two pasts, and one that is skipped has none, so a cache with one layer a block cannot serve a
schedule. Here a cache keeps its first T layers as the model knows them, but as counters only: they hold no keys, just
lengths, from which the model makes its masks and positions. Behind them stand the slots, one a block call, each of the kind
and window of the layer that the model made for that block. Since all of them are layers of the one cache, whatever the
library does to a cache (crop, reorder, repeat, select, reset) it does to every slot. See ``docs/design/cache-slots.md``.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from transformers import Cache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer, StaticLayer, StaticSlidingWindowLayer

from layerscope.errors import UsageError
from layerscope.execution.taps import BlockCalls, Stream
from layerscope.schedules.schedule import Schedule

__all__ = ["Call", "block_caller", "fresh_slot", "with_slot"]

_OWNER = "_layerscope_schedule"
_KINDS = (DynamicLayer, DynamicSlidingWindowLayer, StaticLayer, StaticSlidingWindowLayer)

Call = Callable[[int, int, Stream], Stream]


@contextmanager
def block_caller(calls: BlockCalls, schedule: Schedule) -> Iterator[Call]:
    """Say how the block calls of one pass under `schedule` are made: ``call(number, block, stream)``, numbered from 0.

    With a cache each call has its slot, kept with the cache from one pass to the next.

    Raises
    ------
    UsageError
        A cache that was filled elsewhere or under another schedule, or is of a kind that cannot be copied.
    """
    cache = calls.cache
    if cache is None:
        yield lambda number, block, stream: calls(block, stream)
        return
    slots = _slots(cache, schedule, calls.depth)
    yield lambda number, block, stream: with_slot(calls, block, stream, slots[number])
    _count(cache, calls)


def with_slot(calls: BlockCalls, block: int, stream: Stream, slot: Any) -> Stream:
    """Run a block with `slot` standing where the block looks for its past."""
    layers: list[Any] = calls.cache.layers  # type: ignore[union-attr]  # asked for only with a cache
    counter, layers[block] = layers[block], slot
    try:
        return calls(block, stream)
    finally:
        layers[block] = counter


def fresh_slot(cache: Cache, block: int) -> Any:
    """Return an empty layer of the kind and window the model made for `block`."""
    return copy.deepcopy(cache.layers[block])


def _slots(cache: Cache, schedule: Schedule, depth: int) -> list[Any]:
    owner = vars(cache).get(_OWNER)
    if owner is None:
        _take_over(cache, schedule, depth)
    elif owner != schedule:
        raise UsageError(
            "this key-value cache was filled under another schedule; begin the text anew, with a cache of its own"
        )
    slots: list[Any] = cache.layers[depth:]
    return slots


def _take_over(cache: Cache, schedule: Schedule, depth: int) -> None:
    if cache.get_seq_length() > 0:
        raise UsageError(
            "this key-value cache was filled outside the schedule; begin the text anew, with a cache of its own"
        )
    while len(cache.layers) < depth:  # a cache that makes its layers as they are asked for: all of one kind
        cache.layers.append(cache.layer_class_to_replicate())
    if cache.offloading or any(type(layer) not in _KINDS for layer in cache.layers):
        kinds = ", ".join(sorted({type(layer).__name__ for layer in cache.layers}))
        raise UsageError(
            f"a schedule cannot use a cache that is offloaded or of these kinds: {kinds}. Use the default."
        )
    slots = [fresh_slot(cache, block) for stage in schedule for block in stage]
    for counter in cache.layers:
        counter.is_initialized = False  # those made with room for keys (chunked prefill) let it go: lengths need none
    cache.layers.extend(slots)
    setattr(cache, _OWNER, schedule)


def _count(cache: Cache, calls: BlockCalls) -> None:
    """Tell the counters that every past has grown by this pass."""
    sequences, tokens, _ = calls.stream.shape
    nothing = calls.stream.new_zeros(sequences, 1, tokens, 1)
    for counter in cache.layers[: calls.depth]:
        counter.update(nothing, nothing)
