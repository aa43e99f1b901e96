"""Measure what a model's key-value cache can be used for: states with it must equal states without it.

Most models pass. Some run one token after another from their cache, but no several tokens at once (Mamba, Jamba). Some round
differently with a cache (Zamba2, Nemotron-H), keep their past in an object of their own (MiniMax), or on their modules
(RecurrentGemma), where a block that runs twice finds the past of another call. Where the cache is of no use, everything is computed
anew, which is slower and right.
"""

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import nn
from transformers import DynamicCache

from layerscope.errors import UsageError
from layerscope.execution.interception import Stream
from layerscope.execution.scheduled import scheduled
from layerscope.models.contexts import eval_mode, no_grad
from layerscope.models.model import Model
from layerscope.texts.batches import position_ids

__all__ = ["CacheUse", "cache_use"]

_PREFIX, _PART, _ALL = 4, 7, 8  # tokens in the cache after each of the three parts
_PADDED = 2  # tokens of padding on the left of the second text
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.05}


@dataclass(frozen=True)
class CacheUse:
    """What a model's cache can be used for.

    Attributes
    ----------
    steps
        Whether one token after another can be run from the cache, as in generation.
    parts
        Whether several tokens at once can be run from the cache, as continuations of a common context.
    """

    steps: bool
    parts: bool


_MEASURED: WeakKeyDictionary[nn.Module, CacheUse] = WeakKeyDictionary()


def cache_use(model: Model) -> CacheUse:
    """Return what the cache of a decoder can be used for, measured on first use.

    Two short texts run under a schedule that runs every block twice, whole and in three parts.
    """
    if model.module not in _MEASURED:
        with eval_mode(model.module), no_grad():
            _MEASURED[model.module] = _measure(model)
    return _MEASURED[model.module]


def _measure(model: Model) -> CacheUse:
    if model.architecture.cache is None:
        return CacheUse(steps=False, parts=False)
    whole = _run(model, [_ALL], cached=False)
    try:
        steps = _alike(model, _run(model, [_PREFIX, *range(_PREFIX + 1, _ALL + 1)], cached=True), whole)
    except UsageError:  # a cache that has no slots
        return CacheUse(steps=False, parts=False)
    try:
        parts = _alike(model, _run(model, [_PREFIX, _PART, _ALL], cached=True), whole)
    except (RuntimeError, ValueError, IndexError):  # the shapes of a single token are assumed
        parts = False
    return CacheUse(steps, parts)


def _run(model: Model, ends: list[int], cached: bool) -> torch.Tensor:
    """Run two texts in parts that end at these lengths, and return the final states of the real tokens."""
    ids = torch.arange(5, 5 + 2 * _ALL).remainder(model.vocabulary_size).reshape(2, _ALL)
    mask = torch.ones_like(ids)
    if not model.length_dependence.alone:
        mask[1, :_PADDED] = 0
    positions = position_ids(mask)
    states: list[Stream] = []
    cache = {model.architecture.cache: DynamicCache(config=model.config), "use_cache": True} if cached else {}
    stages = [(block,) for block in range(model.depth) for _ in range(2)]
    with scheduled(model, stages, observe=lambda number, stream: _keep(number, stream, len(stages), states)):
        for start, end in zip([0, *ends], ends, strict=False):
            inputs = model.inputs(ids[:, start:end], mask[:, :end], positions[:, start:end])
            model.trunk(**inputs | cache)
    return torch.cat(states, dim=1)[mask.to(states[0].device) == 1]


def _keep(number: int, stream: Stream, last: int, states: list[Stream]) -> None:
    if number == last:
        states.append(stream)


def _alike(model: Model, one: torch.Tensor, other: torch.Tensor) -> bool:
    one, other = one.double(), other.double()
    return not bool(other.isfinite().all()) or float((one - other).norm() / other.norm()) <= _TOLERANCE[model.dtype]
