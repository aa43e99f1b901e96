"""One slot of key-value cache for each block call of a schedule.

A block that runs twice has two pasts, and one that is skipped has none, so a cache with one layer a block cannot serve a
schedule. Here a cache keeps its first T layers as the model knows them, but as counters only: they hold no keys, just
lengths, from which the model makes its masks and positions. Behind them stand the slots, one a block call, each of the kind
and window of the layer that the model made for that block. Since all of them are layers of the one cache, whatever the
library does to a cache (crop, reorder, repeat, select, reset) it does to every slot. See ``docs/design/cache-slots.md``.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import Cache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer, StaticLayer, StaticSlidingWindowLayer

from layerscope.errors import UsageError
from layerscope.execution.taps import BlockCalls, Stream
from layerscope.schedules.schedule import Schedule

__all__ = ["Slot", "fresh_slot", "in_place", "slots_of", "with_slot"]

Slot = Any
"""A layer of a cache, of which the library has no common type; None where there is no cache."""

_OWNER = "_layerscope_schedule"
_ANEW = "begin the text anew, with a cache of its own"


def _refuse(counter: Slot, *args: Any, **kwargs: Any) -> Any:
    """Stand for a counter's `update`: whoever wants its keys is outside the schedule."""
    raise UsageError(f"this key-value cache was filled under a schedule and is of no use outside it; {_ANEW}")


class _DynamicCounter(DynamicLayer):  # type: ignore[misc]  # the library comes without types here
    update = _refuse


class _DynamicSlidingWindowCounter(DynamicSlidingWindowLayer):  # type: ignore[misc]  # the library comes without types here
    update = _refuse


class _StaticCounter(StaticLayer):  # type: ignore[misc]  # the library comes without types here
    update = _refuse


class _StaticSlidingWindowCounter(StaticSlidingWindowLayer):  # type: ignore[misc]  # the library comes without types here
    update = _refuse


_COUNTERS: dict[type, type] = {
    DynamicLayer: _DynamicCounter,
    DynamicSlidingWindowLayer: _DynamicSlidingWindowCounter,
    StaticLayer: _StaticCounter,
    StaticSlidingWindowLayer: _StaticSlidingWindowCounter,
}


@contextmanager
def slots_of(calls: BlockCalls, schedule: Schedule) -> Iterator[list[Slot]]:
    """Give the slots of one pass under `schedule`, one a block call; when the pass is over, its tokens are counted.

    With a cache they are kept with it from one pass to the next.

    Raises
    ------
    UsageError
        A cache that was filled elsewhere or under another schedule, or is of a kind that cannot be copied.
    """
    cache = calls.cache
    if cache is None:
        yield [None] * schedule.block_calls
        return
    yield _slots(cache, schedule, calls.depth)
    sequences, tokens, _ = calls.stream.shape
    nothing = calls.stream.new_zeros(sequences, 1, tokens, 1)
    for counter in cache.layers[: calls.depth]:
        super(type(counter), counter).update(nothing, nothing)  # what its kind does


def with_slot(calls: BlockCalls, block: int, stream: Stream, slot: Slot) -> Stream:
    """Run a block with `slot` standing where the block looks for its past."""
    with in_place(calls, block, slot):
        return calls(block, stream)


@contextmanager
def in_place(calls: BlockCalls, block: int, slot: Slot) -> Iterator[None]:
    """Let `slot` stand where a block looks for its past."""
    if slot is None:
        yield
        return
    layers: list[Any] = calls.cache.layers  # type: ignore[union-attr]  # where there are slots, there is a cache
    counter, layers[block] = layers[block], slot
    try:
        yield
    finally:
        layers[block] = counter


def fresh_slot(cache: Cache, block: int) -> Slot:
    """Return an empty layer of the kind and window the model made for `block`."""
    return copy.deepcopy(cache.layers[block])


def _slots(cache: Cache, schedule: Schedule, depth: int) -> list[Slot]:
    owner = vars(cache).get(_OWNER)
    if owner is None:
        _take_over(cache, schedule, depth)
    elif owner != schedule:
        raise UsageError(f"this key-value cache was filled under another schedule; {_ANEW}")
    slots: list[Slot] = cache.layers[depth:]
    return slots


def _take_over(cache: Cache, schedule: Schedule, depth: int) -> None:
    if cache.get_seq_length() > 0:
        raise UsageError(f"this key-value cache was filled outside the schedule; {_ANEW}")
    while len(cache.layers) < depth:  # a cache that makes its layers as they are asked for: all of one kind
        cache.layers.append(cache.layer_class_to_replicate())
    if cache.offloading or any(type(layer) not in _COUNTERS for layer in cache.layers):
        kinds = ", ".join(sorted({type(layer).__name__ for layer in cache.layers}))
        raise UsageError(
            f"a schedule cannot use a cache that is offloaded or of these kinds: {kinds}. Use the default."
        )
    slots = [fresh_slot(cache, block) for stage in schedule for block in stage]
    for counter in cache.layers:
        counter.__class__ = _COUNTERS[type(counter)]
        counter.is_initialized = False  # those made with room for keys (chunked prefill) let it go: lengths need none
    cache.layers.extend(slots)
    setattr(cache, _OWNER, schedule)
