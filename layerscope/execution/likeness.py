"""Whether two blocks are one function of their weights: what they must have in common, read off the blocks themselves.

Whatever is not known to be equal counts as different. Knows no family and no schedule.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from layerscope.execution.taps import BlockCall

__all__ = ["Likeness", "fact", "likeness"]

_PLAIN = (bool, int, float, str, type(None), torch.dtype, torch.device)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_INDEX = "layer_idx"  # which layer of the cache is a block's; its slot stands there whatever it is


@dataclass(frozen=True)
class Likeness:
    """A block as others may be like it.

    Attributes
    ----------
    tensors
        Its parameters and buffers by name.
    kind
        Equal for blocks that differ in the values of these alone; None where a call of the block is more than its class says:
        hooks, dropout, weights of a special kind. (A forward of its own is a fact that no other block shares.)
    """

    tensors: dict[str, torch.Tensor]
    kind: Hashable | None


def likeness(call: BlockCall) -> Likeness:
    """Look at a block and the arguments that the model called it with."""
    parts = list(call.block.named_modules())
    tensors = {f"{name}.{key}" if name else key: tensor for name, part in parts for key, tensor in _tensors(part)}
    if any(map(_has_its_own_way, (part for _, part in parts))) or not all(map(_is_plain, tensors.values())):
        return Likeness(tensors, None)
    classes = tuple((name, type(part), tuple(_facts(part))) for name, part in parts)
    shapes = tuple((name, one.shape, one.dtype, one.device) for name, one in tensors.items())
    return Likeness(tensors, (classes, shapes, _arguments(call)))


def fact(value: Any) -> Hashable:
    """Return what is equal for equal values; for one whose equality is not known, its identity."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, tuple):
        return tuple(map(fact, value))
    if isinstance(value, partial):  # an activation, made anew for each block
        return fact(value.func), fact(value.args), fact(tuple(value.keywords.items()))
    return id(value)


def _tensors(part: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    for tensors in (part._parameters, part._buffers):
        for key, tensor in tensors.items():
            if tensor is not None:
                yield key, tensor


def _is_plain(tensor: torch.Tensor) -> bool:
    return type(tensor) in (nn.Parameter, torch.Tensor) and not (tensor.is_meta or tensor.is_inference())


def _has_its_own_way(part: nn.Module) -> bool:
    return part.training or any(vars(part)[hooks] for hooks in _HOOKS)


def _facts(part: nn.Module) -> Iterator[tuple[str, Hashable]]:
    for key, value in vars(part).items():
        if not key.startswith("_") and key != _INDEX:
            yield key, fact(value)


def _arguments(call: BlockCall) -> Hashable:
    given = {key: value for key, value in call.kwargs.items() if key != "hidden_states"}
    return fact(call.args[1:]), fact(tuple(given.items()))
