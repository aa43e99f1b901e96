"""Signature that decides which blocks can run in one batched call.

Two blocks with equal signatures are the same function of their weights. Everything that is not known to be equal counts as
different. This module does not import model families or schedules.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from layerscope.models.interception import BlockCall

__all__ = ["BlockSignature", "comparable"]

_VALUES = (bool, int, float, str, type(None), torch.dtype, torch.device)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_CACHE_INDEX = "layer_idx"  # the cache layer that the block reads; its KV slot is put there


@dataclass(frozen=True)
class BlockSignature:
    """What two block calls must have in common to run as one.

    Attributes
    ----------
    tensors
        Parameters and buffers of the block, by name.
    kind
        Equal for blocks that differ only in the values of these tensors. None for a block that must run alone: it has hooks
        or dropout, or tensors of a special type. (A block with its own ``forward`` has a kind that no other block shares.)
    """

    tensors: dict[str, torch.Tensor]
    kind: Hashable | None

    @classmethod
    def of(cls, call: BlockCall) -> "BlockSignature":
        """Return the signature of a block and of the arguments that the model passed to it."""
        parts = list(call.block.named_modules())
        tensors = {f"{name}.{key}" if name else key: tensor for name, part in parts for key, tensor in _tensors(part)}
        if any(_runs_alone(part) for _, part in parts) or not all(map(_is_plain, tensors.values())):
            return cls(tensors, None)
        classes = tuple((name, type(part), tuple(_attributes(part))) for name, part in parts)
        shapes = tuple((name, one.shape, one.dtype, one.device) for name, one in tensors.items())
        return cls(tensors, (classes, shapes, _arguments(call)))


def comparable(value: Any) -> Hashable:
    """Return a key that is equal for equal values; for types whose equality is not known, the identity of the object."""
    if isinstance(value, _VALUES):
        return value
    if isinstance(value, tuple):
        return tuple(map(comparable, value))
    if isinstance(value, partial):  # an activation: each block has its own object
        return comparable(value.func), comparable(value.args), comparable(tuple(value.keywords.items()))
    return id(value)


def _tensors(part: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    for tensors in (part._parameters, part._buffers):
        for key, tensor in tensors.items():
            if tensor is not None:
                yield key, tensor


def _is_plain(tensor: torch.Tensor) -> bool:
    return type(tensor) in (nn.Parameter, torch.Tensor) and not (tensor.is_meta or tensor.is_inference())


def _runs_alone(part: nn.Module) -> bool:
    return part.training or any(vars(part)[hooks] for hooks in _HOOKS)


def _attributes(part: nn.Module) -> Iterator[tuple[str, Hashable]]:
    for key, value in vars(part).items():
        if not key.startswith("_") and key != _CACHE_INDEX:
            yield key, comparable(value)


def _arguments(call: BlockCall) -> Hashable:
    args, kwargs = call.others
    return comparable(args), comparable(tuple(kwargs.items()))
