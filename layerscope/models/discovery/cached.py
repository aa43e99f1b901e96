"""Run a model with its key-value cache, a few tokens first and one token next, and record the results."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import Cache

from layerscope.models.discovery.places import leaves_in
from layerscope.models.discovery.probe import Probe, accepted, first_tensor

__all__ = ["CachedProbe", "kept_tensors", "probe_cached"]

_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.1}
_OF_TORCH = frozenset(vars(nn.Module()))  # parameters, buffers, hooks, submodules


@dataclass(frozen=True)
class CachedProbe:
    """A forward pass over the last token of a probe, whose other tokens are in the cache.

    Attributes
    ----------
    argument
        The name of the argument that takes the cache.
    inputs
        The arguments of that pass, with a cache that nothing has added to yet.
    output
        The first tensor of its output.
    kept
        The parts of the model that keep tensors of these passes, with the names of the attributes.
    """

    argument: str
    inputs: dict[str, Any]
    output: torch.Tensor
    kept: tuple[str, ...]

    def agrees(self, probe: Probe) -> bool:
        """Whether the last token has the output that it has in the whole text, up to rounding."""
        whole, last = probe.output[:1, -1].double(), self.output[:, -1].double()
        if not whole.isfinite().all():
            return True
        return float((last - whole).norm()) <= _TOLERANCE[probe.output.dtype] * float(whole.norm())


def probe_cached(module: nn.Module, probe: Probe) -> CachedProbe | None:
    """Run all tokens of a probe but the last, then the last one.

    None for a model that returns no cache, or in which tokens see later ones.
    """
    if "use_cache" not in accepted(module) or probe.sees_later:
        return None
    before = kept_tensors(module)
    inputs = {name: value[:1] for name, value in probe.inputs.items()}
    first = {name: value[:, :-1] for name, value in inputs.items()}
    argument, cache = _cache_of(module(**first, use_cache=True))
    if cache is None:
        return None
    last = inputs | {"input_ids": inputs["input_ids"][:, -1:], "use_cache": True}
    again = last | {argument: copy.deepcopy(cache)}
    try:
        output = first_tensor(module(**last, **{argument: cache}))
    except (
        RuntimeError,
        ValueError,
        IndexError,
    ):  # a model that needs what its own `generate` prepares for a single token
        return None
    after = kept_tensors(module)
    kept = tuple(sorted(name for name, ids in after.items() if ids != before.get(name)))
    return CachedProbe(argument, again, output, kept)


def _cache_of(output: Any) -> tuple[str, Cache | None]:
    for place, leaf in leaves_in(output).items():
        if isinstance(leaf, Cache) and len(place.steps) == 1 and isinstance(place.steps[0], str):
            return place.steps[0], leaf
    return "", None


def kept_tensors(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the identities of the tensors and caches in the attributes of all parts that are no weights, by name."""
    kept = {}
    for path, part in module.named_modules():
        for name, value in vars(part).items():
            leaves = {} if name in _OF_TORCH else leaves_in(value)
            if leaves:
                kept[f"{path}.{name}" if path else name] = tuple(map(id, leaves.values()))
    return kept
