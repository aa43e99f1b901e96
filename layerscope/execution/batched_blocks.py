"""Run the blocks of a stage as one batched call over their stacked weights.

Blocks that read the same stream are one function with different weights if their signatures are equal. ``vmap`` runs that
function once on the stacked weights. This is faster when one block does not fill the hardware, as with a single token; the
last bits of the result differ. A block without a partner runs alone. See ``docs/design/deferred-execution.md``.

This module does not import model families: signatures are read from the blocks in every forward pass.
"""

import copy
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from layerscope.errors import UsageError
from layerscope.execution.block_signature import BlockSignature, comparable
from layerscope.execution.kv_slots import KVSlot, run_block, using_kv_slot
from layerscope.models.devices import running_device
from layerscope.models.interception import BlockCall, BlockCalls, Stream
from layerscope.models.model import Model
from layerscope.schedules.schedule import Schedule, Stage

__all__ = ["BatchedBlocks", "require_one_device", "stage_on_devices"]

_BATCHABLE = (DynamicLayer, DynamicSlidingWindowLayer)  # cache layers that grow by concatenation
_WEIGHTS = "block."  # prefix of parameter names in `_Shell`


def stage_on_devices(model: Model, schedule: Schedule) -> Stage | None:
    """Return the first stage whose blocks are on several devices, which cannot run as one; None if there is none."""
    return next((stage for stage in schedule if len(_devices(model, stage)) > 1), None)


def require_one_device(model: Model, schedule: Schedule) -> None:
    """Refuse a schedule with a stage whose blocks are on several devices.

    Raises
    ------
    UsageError
        With the stage and its devices.
    """
    stage = stage_on_devices(model, schedule)
    if stage is not None:
        blocks, where = "|".join(map(str, stage)), " and ".join(sorted(_devices(model, stage)))
        raise UsageError(
            f"{model.name}: the blocks of the stage ({blocks}) are on {where}, so they cannot run as one: "
            "leave out stacked, or place them on one device"
        )


def _devices(model: Model, stage: Stage) -> set[str]:
    return {str(running_device(model.blocks[block])) for block in stage}


class BatchedBlocks:
    """Runs stages, with all similar blocks of a stage in one call; keeps their stacked weights."""

    def __init__(self) -> None:
        self._stacks: dict[Stage, _Stack] = {}
        self._calls: BlockCalls | None = None
        self._signatures: dict[int, BlockSignature] = {}
        self._unbatchable: set[type[nn.Module]] = set()

    def __call__(self, calls: BlockCalls, stage: Stage, stream: Stream, kv_slots: Sequence[KVSlot]) -> Iterator[Stream]:
        """Yield the outputs of a stage's blocks in any order; each block has one KV slot."""
        if self._calls is not calls:
            self._calls, self._signatures = calls, {}
        for members in self._groups(calls, stage, stream, kv_slots):
            blocks, own_slots = tuple(stage[member] for member in members), [kv_slots[member] for member in members]
            outputs = self._as_one(calls, blocks, stream, own_slots) if len(members) > 1 else None
            if outputs is not None:
                yield from outputs
            else:
                yield from (
                    run_block(calls, block, stream, slot) for block, slot in zip(blocks, own_slots, strict=True)
                )

    def _as_one(
        self, calls: BlockCalls, blocks: Stage, stream: Stream, kv_slots: Sequence[KVSlot]
    ) -> tuple[Stream, ...] | None:
        """Run similar blocks in one call; None for classes that ``vmap`` cannot run, which only a trial shows."""
        cls = calls.blocks[blocks[0]].block_class
        if cls in self._unbatchable:
            return None
        try:
            return _run_as_one(calls, blocks, self._stacked(blocks), stream, kv_slots)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, NotImplementedError):  # a fault of the blocks themselves shows when they run alone
            self._unbatchable.add(cls)
            self._stacks.pop(blocks, None)
            return None

    def _groups(
        self, calls: BlockCalls, stage: Stage, stream: Stream, kv_slots: Sequence[KVSlot]
    ) -> Iterator[Sequence[int]]:
        """Group the blocks of a stage, by index in the stage, that can run in one call."""
        if len(stage) == 1:
            return iter([[0]])
        groups: dict[Hashable, list[int]] = {}
        for member, (block, kv_slot) in enumerate(zip(stage, kv_slots, strict=True)):
            signature = self._signature(calls.blocks[block], block)
            alone = signature.kind is None or not _is_batchable(kv_slot) or _needs_gradients(signature, stream)
            key = member if alone else (signature.kind, _slot_signature(kv_slot))
            groups.setdefault(key, []).append(member)
        return iter(groups.values())

    def _signature(self, call: BlockCall, block: int) -> BlockSignature:
        if block not in self._signatures:
            self._signatures[block] = BlockSignature.of(call)
        return self._signatures[block]

    def _stacked(self, blocks: Stage) -> dict[str, torch.Tensor]:
        sources = [self._signatures[block].tensors for block in blocks]
        stack = self._stacks.get(blocks)
        if stack is None or not stack.is_current(sources):
            self._stacks.pop(blocks, None)  # frees its memory before the new stack is made
            stack = self._stacks[blocks] = _Stack(sources)
        return stack.tensors


class _Stack:
    """Stacked parameters and buffers of some blocks, with their versions."""

    def __init__(self, sources: Sequence[dict[str, torch.Tensor]]) -> None:
        # Keeping the sources alive prevents that a new tensor at the same address is taken for one of them.
        self._sources = [tensor.detach() for source in sources for tensor in source.values()]
        self._versions = _versions(sources)
        self.tensors = {name: torch.stack([source[name].detach() for source in sources]) for name in sources[0]}

    def is_current(self, sources: Sequence[dict[str, torch.Tensor]]) -> bool:
        """Whether no source was moved or modified since."""
        return _versions(sources) == self._versions


def _versions(sources: Sequence[dict[str, torch.Tensor]]) -> list[tuple[int, int]]:
    return [(tensor.data_ptr(), tensor._version) for source in sources for tensor in source.values()]


class _Shell(nn.Module):
    """Module whose forward is the recorded block call: calling the intercepted block itself would only record."""

    def __init__(self, call: BlockCall) -> None:
        super().__init__()
        self.block = call.block
        self._call = call

    def forward(self, stream: Stream) -> Stream:
        return self._call(stream)


def _run_as_one(
    calls: BlockCalls, blocks: Stage, weights: dict[str, torch.Tensor], stream: Stream, kv_slots: Sequence[KVSlot]
) -> tuple[Stream, ...]:
    """Run similar blocks in one call, through the first of them, and update their KV slots as if each ran alone."""
    shell = _Shell(calls.blocks[blocks[0]])
    shared_slot = KVSlot({place: copy.copy(layer) for place, layer in kv_slots[0].layers.items()})
    shared = _layer(shared_slot)

    def run_one(own: dict[str, torch.Tensor], past: dict[str, torch.Tensor]) -> tuple[Stream, dict[str, torch.Tensor]]:
        if shared is not None:
            vars(shared).update(past)
        with using_kv_slot(calls, shared_slot):
            output = functional_call(shell, own, (stream,))
        return output, {} if shared is None else {"keys": shared.keys, "values": shared.values}

    with sdpa_kernel(SDPBackend.MATH):  # the only attention kernel that vmap batches on every device
        outputs, grown = torch.vmap(run_one)({_WEIGHTS + name: weights[name] for name in weights}, _pasts(kv_slots))
    if len(shared_slot.layers) > len(kv_slots[0].layers):
        raise UsageError(
            "a block writes several layers of the cache, so blocks cannot run as one: leave out stacked=True"
        )
    for member, layer in enumerate(map(_layer, kv_slots)):
        if layer is not None:
            vars(layer).update(vars(shared) | {name: tensor[member] for name, tensor in grown.items()})
    return tuple(outputs.unbind())


def _layer(kv_slot: KVSlot) -> Any:
    """Return the cache layer of a KV slot; None without a cache."""
    return next(iter(kv_slot.layers.values()), None)


def _is_batchable(kv_slot: KVSlot) -> bool:
    return len(kv_slot.layers) < 2 and all(type(layer) in _BATCHABLE for layer in kv_slot.layers.values())


def _pasts(kv_slots: Sequence[KVSlot]) -> dict[str, torch.Tensor]:
    layers = [_layer(kv_slot) for kv_slot in kv_slots]
    if layers[0] is None or not layers[0].is_initialized:
        return {}
    return {name: torch.stack([getattr(layer, name) for layer in layers]) for name in ("keys", "values")}


def _slot_signature(kv_slot: KVSlot) -> Hashable:
    """Return a key that is equal for KV slots that can be stacked."""
    return tuple(
        (type(layer), key, value.shape if isinstance(value, torch.Tensor) else comparable(value))
        for layer in kv_slot.layers.values()
        for key, value in vars(layer).items()
    )


def _needs_gradients(signature: BlockSignature, stream: Stream) -> bool:
    """Whether gradients are recorded; they would stop at the stacked copies of the weights."""
    tensors = (stream, *signature.tensors.values())
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
