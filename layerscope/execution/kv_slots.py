"""Key-value cache slots: one for each block call of a schedule.

A block that runs twice has two pasts, and a skipped block has no past, so a cache with one layer for each block does not work
under a schedule. Here the first T layers of a cache become counters: they have no keys, only the length of the past, from
which the model computes masks and positions. The KV slots follow them, one for each block call, each of the kind and window
of the layer that the model made for that block. All are layers of one cache object, so every cache operation of the library
(crop, reorder, repeat, select, reset) applies to every slot. See ``docs/design/cache-slots.md``.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import Cache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer, StaticLayer, StaticSlidingWindowLayer

from layerscope.errors import UsageError
from layerscope.execution.interception import BlockCalls, Stream
from layerscope.schedules.schedule import Schedule

__all__ = ["KVSlot", "empty_kv_slot", "kv_slots_for", "run_block", "using_kv_slot"]

KVSlot = Any
"""A cache layer, for which the library has no common type; None without a cache."""

_OWNER = "_layerscope_schedule"
_REMEDY = "run the text again from its start with a new cache"


def _refuse(counter: KVSlot, *args: Any, **kwargs: Any) -> Any:
    """Replace `update` of a counter: code that calls it runs outside the schedule."""
    raise UsageError(f"this key-value cache was filled under a schedule and cannot be used outside it; {_REMEDY}")


class _DynamicCounter(DynamicLayer):  # type: ignore[misc]  # the library has no types here
    update = _refuse


class _DynamicSlidingWindowCounter(DynamicSlidingWindowLayer):  # type: ignore[misc]  # the library has no types here
    update = _refuse


class _StaticCounter(StaticLayer):  # type: ignore[misc]  # the library has no types here
    update = _refuse


class _StaticSlidingWindowCounter(StaticSlidingWindowLayer):  # type: ignore[misc]  # the library has no types here
    update = _refuse


_COUNTERS: dict[type, type] = {
    DynamicLayer: _DynamicCounter,
    DynamicSlidingWindowLayer: _DynamicSlidingWindowCounter,
    StaticLayer: _StaticCounter,
    StaticSlidingWindowLayer: _StaticSlidingWindowCounter,
}


@contextmanager
def kv_slots_for(calls: BlockCalls, schedule: Schedule) -> Iterator[list[KVSlot]]:
    """Yield the KV slots of one forward pass under `schedule`, one for each block call, and count its tokens at the end.

    With a cache, the slots persist from one forward pass to the next.

    Raises
    ------
    UsageError
        The cache was filled without a schedule or under another one, or its kind cannot be copied.
    """
    cache = calls.cache
    if cache is None:
        yield [None] * schedule.block_calls
        return
    yield _kv_slots(cache, schedule, calls.depth)
    sequences, tokens, _ = calls.stream.shape
    no_keys = calls.stream.new_zeros(sequences, 1, tokens, 1)
    for counter in cache.layers[: calls.depth]:
        super(type(counter), counter).update(no_keys, no_keys)  # the method of the library's class


def run_block(calls: BlockCalls, block: int, stream: Stream, kv_slot: KVSlot) -> Stream:
    """Run a block with `kv_slot` as its key-value cache."""
    with using_kv_slot(calls, block, kv_slot):
        return calls(block, stream)


@contextmanager
def using_kv_slot(calls: BlockCalls, block: int, kv_slot: KVSlot) -> Iterator[None]:
    """Put `kv_slot` in the cache layer that a block reads."""
    if kv_slot is None:
        yield
        return
    layers: list[Any] = calls.cache.layers  # type: ignore[union-attr]  # KV slots exist only with a cache
    counter, layers[block] = layers[block], kv_slot
    try:
        yield
    finally:
        layers[block] = counter


def empty_kv_slot(cache: Cache, block: int) -> KVSlot:
    """Return an empty layer of the kind and window that the model made for `block`."""
    return copy.deepcopy(cache.layers[block])


def _kv_slots(cache: Cache, schedule: Schedule, depth: int) -> list[KVSlot]:
    owner = vars(cache).get(_OWNER)
    if owner is None:
        _add_kv_slots(cache, schedule, depth)
    elif owner != schedule:
        raise UsageError(f"this key-value cache was filled under another schedule; {_REMEDY}")
    kv_slots: list[KVSlot] = cache.layers[depth:]
    return kv_slots


def _add_kv_slots(cache: Cache, schedule: Schedule, depth: int) -> None:
    if cache.get_seq_length() > 0:
        raise UsageError(f"this key-value cache was filled outside the schedule; {_REMEDY}")
    while len(cache.layers) < depth:  # a cache that adds layers on first use, all of one kind
        cache.layers.append(cache.layer_class_to_replicate())
    if cache.offloading or any(type(layer) not in _COUNTERS for layer in cache.layers):
        kinds = ", ".join(sorted({type(layer).__name__ for layer in cache.layers}))
        raise UsageError(
            f"a schedule cannot use an offloaded cache, or layers of these kinds: {kinds}. Use the default cache."
        )
    kv_slots = [empty_kv_slot(cache, block) for stage in schedule for block in stage]
    for counter in cache.layers:
        counter.__class__ = _COUNTERS[type(counter)]
        counter.is_initialized = False  # releases preallocated keys (chunked prefill): a counter has no keys
    cache.layers.extend(kv_slots)
    setattr(cache, _OWNER, schedule)
