"""Measure what a model's key-value cache can be used for: results with and without it must be equal.

Most models pass. Some run one token after another from their cache, but not several at once (Mamba, Jamba). Some round
differently with a cache (Zamba2, Nemotron-H), keep their past in a cache class that no slot can hold (MiniMax), or on modules
(RecurrentGemma), where a block that runs twice finds the past of another call. Where the cache cannot be used, everything is
computed again for each token, which is slower.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from transformers import DynamicCache, GenerationConfig

from layerscope.errors import UsageError
from layerscope.execution.scheduled import scheduled
from layerscope.models.eval_mode import eval_mode, no_grad
from layerscope.models.interception import Stream
from layerscope.models.length_dependence import LengthDependence
from layerscope.models.loader_errors import silence_loaders
from layerscope.models.model import Model
from layerscope.texts.batches import position_ids

__all__ = ["CacheUse", "cache_use", "text_dependence"]

Stages = Sequence[tuple[int, ...]]

_TOKENS, _PREFIX = 8, 4  # of a text, and of its first part
_PADDED = 2  # tokens of padding on the left of the second text
_NEW = 4
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.05}
# A cache without slots; and what a model raises that expects a single token, or another class of cache.
_FAULTS = (UsageError, RuntimeError, ValueError, IndexError)


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

    Two short texts run under a schedule that runs every block twice.
    """
    if model.module not in _MEASURED:
        has_cache = model.architecture.cache is not None
        apart = replace(model, module=_copy(model.module))
        stages = [(block,) for block in range(model.depth) for _ in range(2)]
        with eval_mode(apart.module), no_grad(), silence_loaders():
            steps, parts = (has_cache and can(apart, stages) for can in (_can_step, _can_go_on))
        _MEASURED[model.module] = CacheUse(steps, parts)
    return _MEASURED[model.module]


def _copy(module: nn.Module) -> nn.Module:
    """Return a copy that shares all tensors, without generation defaults and without the schedule that may be running."""
    shared = {id(tensor): tensor for tensors in (module.parameters(), module.buffers()) for tensor in tensors}
    copied = copy.deepcopy(module, shared)
    for part in copied.modules():
        if "generation_config" in vars(part):
            part.generation_config = GenerationConfig()
    return copied


def text_dependence(model: Model) -> LengthDependence:
    """Return how a text depends on its batch, and whether it can continue a part that is in the cache."""
    return replace(model.length_dependence, whole=not cache_use(model).parts)


def _can_step(model: Model, stages: Stages) -> bool:
    """Whether the model's own generation gives the same logits with and without its cache."""
    ids, mask = _texts(model)
    module: Any = model.module
    options = GenerationConfig(max_new_tokens=_NEW, do_sample=False, output_logits=True, return_dict_in_generate=True)
    given = {"input_ids": ids, "attention_mask": mask, "generation_config": options}
    with scheduled(model, stages):
        try:
            anew, cached = (module.generate(**given, use_cache=use_cache) for use_cache in (False, True))
        except _FAULTS:
            return False
    same = (cached.sequences == anew.sequences).all(0)[_TOKENS:].int().cumprod(0)
    comparable = min(int(same.sum()) + 1, _NEW)  # after another token, other logits follow
    return _alike(model, torch.stack(cached.logits[:comparable]), torch.stack(anew.logits[:comparable]))


def _can_go_on(model: Model, stages: Stages) -> bool:
    """Whether several tokens can follow a part that is in the cache."""
    whole = _run(model, stages, [_TOKENS], {})
    cache = {str(model.architecture.cache): DynamicCache(config=model.config), "use_cache": True}
    try:
        return _alike(model, _run(model, stages, [_PREFIX, _TOKENS], cache), whole)
    except _FAULTS:
        return False


def _texts(model: Model) -> tuple[torch.Tensor, torch.Tensor]:
    ids = model.trial_ids(2, _TOKENS)
    mask = torch.ones_like(ids)
    if not model.length_dependence.alone:
        mask[1, :_PADDED] = 0
    return ids.to(model.device), mask.to(model.device)


def _run(model: Model, stages: Stages, ends: list[int], cache: dict[str, Any]) -> torch.Tensor:
    """Run two texts in parts that end at these lengths, and return the final states of the real tokens."""
    ids, mask = _texts(model)
    positions = position_ids(mask)
    states: dict[int, Stream] = {}
    parts = []
    with scheduled(model, stages, observe=states.__setitem__):
        for start, end in zip([0, *ends], ends, strict=False):
            inputs = model.inputs(ids[:, start:end], mask[:, :end], positions[:, start:end])
            model.trunk(**inputs | cache)
            parts.append(states[len(stages)])
    return torch.cat(parts, dim=1)[mask == 1]


def _alike(model: Model, one: torch.Tensor, other: torch.Tensor) -> bool:
    one, other = one.double(), other.double()
    return not bool(other.isfinite().all()) or float((one - other).norm() / other.norm()) <= _TOLERANCE[model.dtype]
