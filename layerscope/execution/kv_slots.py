"""Key-value cache slots: one for each block call of a schedule, for caches of any kind.

A block that runs twice has two pasts, and a skipped block has no past, so a cache with one layer for each block does not work
under a schedule. Here the layers of a cache become counters: they have no keys, only the length of the past, from which the
model computes masks and positions. Each block call has a KV slot: fresh copies of the layers that the block writes, of the kind
that the model made. All are layers of one cache object, so every cache operation of the library (crop, reorder, repeat, select,
reset) applies to every slot. See ``docs/design/cache-slots.md``.
"""

import copy
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from transformers import Cache, DynamicCache, EncoderDecoderCache, StaticCache
from transformers.cache_utils import (
    BaseQuantizedLayer,
    CacheLayerMixin,
    DummyLayer,
    LinearAttentionCacheLayerMixin,
)

from layerscope.errors import UsageError
from layerscope.models.discovery.cached import kept_tensors
from layerscope.models.interception import BlockCalls, Stream
from layerscope.schedules.schedule import Schedule

__all__ = ["KVSlot", "SlottedCache", "kv_slots_for", "run_block", "using_kv_slot"]

_ATTRIBUTE = "_layerscope_slots"
_REMEDY = "run the text again from its start with a new cache"
_CACHES = (Cache, DynamicCache, StaticCache)  # a subclass may keep tensors outside its layers

Place = tuple[int, int]
"""Where a layer is: the number of the cache (1 for keys of an encoder), and the index in it."""


@dataclass
class KVSlot:
    """What one block call keeps of earlier tokens.

    Attributes
    ----------
    layers
        The cache layers that the block writes: usually one, of the number of the block.
    """

    layers: dict[Place, Any] = field(default_factory=dict)

    def select(self, lines: Any) -> None:
        """Keep the given lines of the batch, in this order; a line can occur several times."""
        for layer in self.layers.values():
            layer.reorder_cache(lines)


@dataclass
class SlottedCache:
    """A cache whose layers only count tokens, while block calls keep their keys in KV slots.

    Attributes
    ----------
    cache
        The cache that the model uses.
    depth
        Number of blocks.
    schedule
        The schedule that fills it; None if the caller decides.
    slots
        One for each block call of the schedule.
    """

    cache: Cache
    depth: int
    schedule: Schedule | None = None
    slots: list[KVSlot] = field(default_factory=list)
    _counters: list[list[Any]] = field(default_factory=list)
    _empty: list[list[Any]] = field(default_factory=list)
    _open: KVSlot | None = None

    def __post_init__(self) -> None:
        for cache in self._caches:
            _require_plain(cache)
            while len(cache.layers) < self.depth and cache.layer_class_to_replicate is not None:
                cache.layers.append(cache.layer_class_to_replicate())  # a cache that adds layers on first use
            _require_countable(cache)
        if any(_is_filled(layer) for cache in self._caches for layer in cache.layers):
            raise UsageError(f"this key-value cache was filled outside the schedule; {_REMEDY}")
        self._empty = [copy.deepcopy(cache.layers) for cache in self._caches]
        self._counters = [list(cache.layers) for cache in self._caches]
        for number, counters in enumerate(self._counters):
            for index, counter in enumerate(counters):
                self._make_counter(counter, (number, index))
        if self.schedule is not None:
            self.slots = [self.slot(block) for stage in self.schedule for block in stage]
        setattr(self.cache, _ATTRIBUTE, self)

    @property
    def _caches(self) -> list[Any]:
        if type(self.cache) is EncoderDecoderCache:
            return [self.cache.self_attention_cache, self.cache.cross_attention_cache]
        return [self.cache]

    def _make_counter(self, counter: Any, place: Place) -> None:
        if isinstance(counter, CacheLayerMixin):
            counter.is_initialized = False  # releases preallocated keys (chunked prefill)
        for name in dir(counter):
            if name.startswith("update"):
                vars(counter)[name] = _Write(self, place, name)

    def slot(self, block: int) -> KVSlot:
        """Return an empty KV slot for a call of `block`."""
        places = [(number, block) for number, layers in enumerate(self._empty) if block < len(layers)]
        return KVSlot({place: self._empty_layer(place) for place in places})

    def _empty_layer(self, place: Place) -> Any:
        number, index = place
        return copy.deepcopy(self._empty[number][index])

    def write(self, place: Place, name: str) -> Any:
        """Return the method `name` of the layer that the running block call writes at a place for the first time."""
        if self._open is None:
            raise UsageError(
                f"this key-value cache was filled under a schedule and cannot be used outside it; {_REMEDY}"
            )
        layer = self._open.layers[place] = self._empty_layer(place)
        self._put(place, layer)
        return getattr(layer, name)

    def _put(self, place: Place, layer: Any) -> None:
        number, index = place
        self._caches[number].layers[index] = layer
        if number == 1:
            self.cache.is_updated[index] = _is_filled(layer)  # whether the keys of the encoder are in this slot

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let block calls run: between them, the cache has its counters only."""
        self._set_layers(with_slots=False)
        try:
            yield
        finally:
            self._set_layers(with_slots=True)

    def _set_layers(self, with_slots: bool) -> None:
        for number, (cache, counters) in enumerate(zip(self._caches, self._counters, strict=True)):
            kept = [layer for slot in self.slots for (where, _), layer in slot.layers.items() if where == number]
            cache.layers = counters + kept if with_slots else list(counters)

    @contextmanager
    def using(self, slot: KVSlot) -> Iterator[None]:
        """Let one block call read and write its slot."""
        self._open = slot
        for place, layer in slot.layers.items():
            self._put(place, layer)
        try:
            yield
        finally:
            self._open = None
            for number, index in slot.layers:
                self._caches[number].layers[index] = self._counters[number][index]
            self._require_known_layers()

    def _require_known_layers(self) -> None:
        for cache, counters in zip(self._caches, self._counters, strict=True):
            if len(cache.layers) > len(counters):
                raise UsageError(
                    f"a block uses several layers of the cache, and this cache was made for {len(counters)} layers: "
                    "use the default cache, or DynamicCache(config=…)"
                )

    def count(self, sequences: int, tokens: int, stream: Stream) -> None:
        """Add tokens to the length of the past; `stream` gives dtype and device."""
        no_keys = stream.new_zeros(sequences, 1, tokens, 1)
        for counter in self._counters[0]:
            if isinstance(counter, CacheLayerMixin):
                type(counter).update(counter, no_keys, no_keys)
            if isinstance(counter, LinearAttentionCacheLayerMixin):
                counter.has_previous_state = dict.fromkeys(counter.has_previous_state, True)


@dataclass
class _Write:
    """A method of a counter that writes to a layer: it writes to the slot of the running block call instead."""

    owner: SlottedCache = field(compare=False, repr=False)
    place: Place
    name: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.owner.write(self.place, self.name)(*args, **kwargs)


@contextmanager
def kv_slots_for(calls: BlockCalls, schedule: Schedule) -> Iterator[list[KVSlot]]:
    """Yield the KV slots of one forward pass under `schedule`, one for each block call, and count its tokens at the end.

    With a cache, the slots persist from one forward pass to the next.

    Raises
    ------
    UsageError
        The cache was filled without a schedule or under another one, its kind cannot be copied, or a block that runs more than
        once keeps its past outside the cache.
    """
    if calls.cache is None:
        yield [KVSlot() for _ in range(schedule.block_calls)]
        return
    begun = _ATTRIBUTE in vars(calls.cache)
    slotted = vars(calls.cache).get(_ATTRIBUTE) or SlottedCache(calls.cache, calls.depth, schedule)
    if slotted.schedule != schedule:
        raise UsageError(f"this key-value cache was filled under another schedule; {_REMEDY}")
    with slotted.running(), nullcontext() if begun else _keeping_nothing(calls, schedule):
        yield slotted.slots
        sequences, tokens = calls.stream.shape[:2]
        slotted.count(sequences, tokens, calls.stream)


def run_block(calls: BlockCalls, block: int, stream: Stream, kv_slot: KVSlot) -> Stream:
    """Run a block with `kv_slot` as its key-value cache."""
    with using_kv_slot(calls, kv_slot):
        return calls(block, stream)


@contextmanager
def using_kv_slot(calls: BlockCalls, kv_slot: KVSlot) -> Iterator[None]:
    """Put the layers of `kv_slot` where the running block reads and writes."""
    if calls.cache is None:
        yield
        return
    with vars(calls.cache)[_ATTRIBUTE].using(kv_slot):
        yield


@contextmanager
def _keeping_nothing(calls: BlockCalls, schedule: Schedule) -> Iterator[None]:
    """Refuse a block that runs more than once and keeps its past on its modules: each call would find that of another."""
    times = Counter(block for stage in schedule for block in stage)
    repeated = {block: calls.blocks[block].block for block, count in times.items() if count > 1}
    before = {block: kept_tensors(module) for block, module in repeated.items()}
    yield
    for block, module in repeated.items():
        if changed := sorted(name for name, ids in kept_tensors(module).items() if ids != before[block].get(name)):
            raise UsageError(
                f"block {block} runs {times[block]} times and keeps its past in {changed[0]}, where the calls cannot be told "
                "apart: generate without a cache (use_cache=False)"
            )


def _is_filled(layer: Any) -> bool:
    if isinstance(layer, LinearAttentionCacheLayerMixin) and any(layer.has_previous_state.values()):
        return True
    return isinstance(layer, CacheLayerMixin) and bool(layer.get_seq_length() > 0)


def _require_plain(cache: Any) -> None:
    if type(cache) not in _CACHES:
        raise UsageError(
            f"a schedule cannot use a cache of the class {type(cache).__name__}: generate without a cache (use_cache=False)"
        )


def _require_countable(cache: Any) -> None:
    """Refuse layers whose tokens cannot be counted without keys."""
    known = (CacheLayerMixin, LinearAttentionCacheLayerMixin, DummyLayer)
    if cache.offloading or any(
        isinstance(one, BaseQuantizedLayer) or not isinstance(one, known) for one in cache.layers
    ):
        kinds = ", ".join(sorted({type(layer).__name__ for layer in cache.layers}))
        raise UsageError(
            f"a schedule cannot use an offloaded cache, or layers of these kinds: {kinds}. Use the default cache."
        )
