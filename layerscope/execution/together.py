"""The blocks of a stage as one batched call over their stacked weights.

Blocks that read the same stream are one function with different weights, if they are alike: of one class and shape, without
hooks, called with the same arguments. ``vmap`` runs that function once on the weights laid over one another. Where one block
alone leaves the hardware idle, as with one token, that is faster; the last bits differ. What is not alike runs by itself. See
``docs/design/deferred-execution.md``.

Knows no family: what a block is, is read off the block, anew in every pass.
"""

import copy
from collections.abc import Hashable, Iterator, Sequence

import torch
from torch import nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from layerscope.execution.likeness import Likeness, fact, likeness
from layerscope.execution.slots import Slot, in_place, with_slot
from layerscope.execution.taps import BlockCall, BlockCalls, Stream
from layerscope.schedules.schedule import Stage

__all__ = ["Together"]

_GROWING = (type(None), DynamicLayer, DynamicSlidingWindowLayer)  # a past that is added to by making it anew
_WEIGHTS = "block."  # where they are in the shell


class Together:
    """Gives the outputs of stages, blocks that are alike run as one; keeps their weights, stacked, as long as it lives."""

    def __init__(self) -> None:
        self._stacks: dict[Stage, _Stack] = {}
        self._calls: BlockCalls | None = None
        self._looks: dict[int, Likeness] = {}

    def __call__(self, calls: BlockCalls, stage: Stage, stream: Stream, slots: Sequence[Slot]) -> Iterator[Stream]:
        """Run the blocks of a stage; see `layerscope.execution.stages.Outputs`."""
        if self._calls is not calls:
            self._calls, self._looks = calls, {}
        for places in self._groups(calls, stage, stream, slots):
            blocks, pasts = tuple(stage[place] for place in places), [slots[place] for place in places]
            if len(places) == 1:
                yield with_slot(calls, blocks[0], stream, pasts[0])
            else:
                yield from _run(calls, blocks, self._stacked(blocks), stream, pasts)

    def _groups(
        self, calls: BlockCalls, stage: Stage, stream: Stream, slots: Sequence[Slot]
    ) -> Iterator[Sequence[int]]:
        """Sort the places of a stage by what can run as one."""
        if len(stage) == 1:
            return iter([[0]])
        groups: dict[Hashable, list[int]] = {}
        for place, (block, slot) in enumerate(zip(stage, slots, strict=True)):
            look = self._look(calls.blocks[block], block)
            alone = look.kind is None or type(slot) not in _GROWING or _trained(look, stream)
            groups.setdefault(place if alone else (look.kind, _past(slot)), []).append(place)
        return iter(groups.values())

    def _look(self, call: BlockCall, block: int) -> Likeness:
        if block not in self._looks:
            self._looks[block] = likeness(call)
        return self._looks[block]

    def _stacked(self, blocks: Stage) -> dict[str, torch.Tensor]:
        sources = [self._looks[block].tensors for block in blocks]
        stack = self._stacks.get(blocks)
        if stack is None or not stack.holds(sources):
            self._stacks.pop(blocks, None)  # before another is made
            stack = self._stacks[blocks] = _Stack(sources)
        return stack.tensors


class _Stack:
    """The parameters and buffers of some blocks laid over one another, and what they were made from."""

    def __init__(self, sources: Sequence[dict[str, torch.Tensor]]) -> None:
        # Held on to: while their memory is not free, no other tensor can stand in it and be taken for them.
        self._sources = [tensor.detach() for source in sources for tensor in source.values()]
        self._stamps = _stamps(sources)
        self.tensors = {name: torch.stack([source[name].detach() for source in sources]) for name in sources[0]}

    def holds(self, sources: Sequence[dict[str, torch.Tensor]]) -> bool:
        """Say whether nothing was moved or written into since."""
        return _stamps(sources) == self._stamps


def _stamps(sources: Sequence[dict[str, torch.Tensor]]) -> list[tuple[int, int]]:
    return [(tensor.data_ptr(), tensor._version) for source in sources for tensor in source.values()]


class _Shell(nn.Module):
    """A block called as the model called it, which is not how it is called while it is tapped."""

    def __init__(self, call: BlockCall) -> None:
        super().__init__()
        self.block = call.block
        self._call = call

    def forward(self, stream: Stream) -> Stream:
        return self._call(stream)


def _run(
    calls: BlockCalls, blocks: Stage, weights: dict[str, torch.Tensor], stream: Stream, slots: Sequence[Slot]
) -> tuple[Stream, ...]:
    """Run blocks as one, the first of them with the weights of all; their slots go on as if each had run alone."""
    shell = _Shell(calls.blocks[blocks[0]])
    lent = copy.copy(slots[0])

    def one(own: dict[str, torch.Tensor], past: dict[str, torch.Tensor]) -> tuple[Stream, dict[str, torch.Tensor]]:
        if lent is None:
            return functional_call(shell, own, (stream,)), {}
        vars(lent).update(past)
        with in_place(calls, blocks[0], lent):
            output = functional_call(shell, own, (stream,))
        return output, {"keys": lent.keys, "values": lent.values}

    with sdpa_kernel(SDPBackend.MATH):  # the one kind of attention that vmap runs in one go on every device
        outputs, grown = torch.vmap(one)({_WEIGHTS + name: weights[name] for name in weights}, _pasts(slots))
    for place, slot in enumerate(slots):
        if slot is not None:
            vars(slot).update(vars(lent) | {name: tensor[place] for name, tensor in grown.items()})
    return tuple(outputs.unbind())


def _pasts(slots: Sequence[Slot]) -> dict[str, torch.Tensor]:
    if slots[0] is None or not slots[0].is_initialized:
        return {}
    return {name: torch.stack([getattr(slot, name) for slot in slots]) for name in ("keys", "values")}


def _past(slot: Slot) -> Hashable:
    """Return what the pasts of two blocks must have in common."""
    if slot is None:
        return None
    return type(slot), tuple(
        (key, value.shape if isinstance(value, torch.Tensor) else fact(value)) for key, value in vars(slot).items()
    )


def _trained(look: Likeness, stream: Stream) -> bool:
    """Whether gradients are wanted, which would not get past the stacked copies of the weights."""
    return torch.is_grad_enabled() and (stream.requires_grad or any(one.requires_grad for one in look.tensors.values()))
