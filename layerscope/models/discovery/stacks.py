"""Find stacks of blocks in a recorded forward pass.

A stack is what runs of one module list: items called once each, in order, such that a tensor which one returns is the
very tensor that the next is called with, always at the same place of the output and of the arguments.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from layerscope.models.discovery.places import Place
from layerscope.models.discovery.streams import StreamPlaces
from layerscope.models.discovery.watch import ModuleCall, Watch

__all__ = ["Search", "Stack", "find_stacks"]

_Link = tuple[Place, Place]
"""A place in the output of one item, and a place among the arguments of the next."""


@dataclass(frozen=True)
class Stack:
    """A stack of blocks.

    Attributes
    ----------
    path
        Path of the list in the model.
    items
        The items of the list that ran, in running order.
    calls
        Their calls.
    stream
        Where the stream is.
    others
        Further tensors that every item passes on changed, by place in the output.
    """

    path: str
    items: tuple[int, ...]
    calls: tuple[ModuleCall, ...]
    stream: StreamPlaces
    others: tuple[Place, ...] = ()

    @property
    def states(self) -> list[torch.Tensor]:
        """The stream that enters the first block and the streams that leave each block."""
        return [self.stream.of_call(*self.calls[0].arguments), *(self.stream.of_output(c.output) for c in self.calls)]

    @property
    def began(self) -> int:
        """When the first block began."""
        return self.calls[0].began

    @property
    def ended(self) -> int:
        """When the last block ended."""
        return self.calls[-1].ended


@dataclass(frozen=True)
class Search:
    """The stacks that were found, in running order, and why other lists are none."""

    stacks: tuple[Stack, ...]
    refused: tuple[str, ...]


def find_stacks(module: nn.Module, watch: Watch) -> Search:
    """Find all stacks of blocks of a module in one recorded pass."""
    found: list[Stack] = []
    refused: list[str] = []
    for path, items in module.named_modules():
        if not isinstance(items, nn.ModuleList | nn.Sequential) or len(items) == 0:
            continue
        calls = [watch.of(item) for item in items]
        if not any(calls):
            continue
        why = _why_no_stack(calls)
        stack = None if why else _stack(path, calls)
        if stack is not None:
            found.append(stack)
        else:
            refused.append(f"{path}: {why or 'no tensor goes from each item to the next'}")
    # A list in a block of another stack (experts, sub-layers) is no stack of the model.
    outer = [one for one in found if not any(_inside_block(one, other) for other in found)]
    return Search(tuple(sorted(outer, key=lambda stack: stack.began)), tuple(refused))


def _why_no_stack(calls: Sequence[Sequence[ModuleCall]]) -> str | None:
    times = [len(own) for own in calls if own]
    if max(times) > 1:
        return f"its items are called {', '.join(map(str, times))} times"
    ran = [own[0] for own in calls if own]
    if any(one.ended > other.began for one, other in pairwise(ran)):
        return "its items are called in another order than listed"
    return None


def _stack(path: str, calls: Sequence[Sequence[ModuleCall]]) -> Stack | None:
    ran = [own[0] for own in calls if own]
    links = _links(ran, by_value=False) or _links(ran, by_value=True)  # a trunk may slice the stream
    if len(ran) == 1:
        links = _ends_of_one(ran[0])
    if not links:
        return None
    moving = [link for link in links if any(_changes(call, link) for call in ran)]
    # What the first item makes and all others pass on (T5's position bias) is no stream, unless no item changes anything.
    out_of, into = min(moving or links, key=_plainness)
    others = tuple(dict.fromkeys(out for out, to in moving if out != out_of and to != into))
    items = tuple(index for index, own in enumerate(calls) if own)
    return Stack(path, items, tuple(ran), StreamPlaces(into, out_of), others)


def _plainness(link: _Link) -> tuple[int, str, str]:
    """Order links: outputs that are the tensor, then the first of several, then deeper ones; positional arguments first."""
    out_of, into = link
    return len(out_of.steps), str(out_of.steps), str(into.steps)


def _links(calls: Sequence[ModuleCall], by_value: bool) -> list[_Link]:
    """Return the links that hold between all neighbours; `by_value`: of one tensor, or of two that are equal."""
    found: set[_Link] | None = None
    for one, other in pairwise(calls):
        here = {
            (out, to)
            for out, made in one.made.items()
            for to, given in other.given.items()
            if made is given or (by_value and _equal(made, given))
        }
        found = here if found is None else found & here
    return list(found or ())


def _ends_of_one(call: ModuleCall) -> list[_Link]:
    """Return the pairs of places of equal shape of a single item, whose stream has no other sign."""
    return [
        (out, to)
        for out, made in call.made.items()
        for to, given in call.given.items()
        if made.shape == given.shape and made.ndim > 2 and made.is_floating_point() and given.is_floating_point()
    ]


def _changes(call: ModuleCall, link: _Link) -> bool:
    out, to = link
    return call.made[out] is not call.given.get(to)


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype or not one.is_floating_point():
        return False
    return torch.equal(one, other.to(one.device))


def _inside_block(one: Stack, other: Stack) -> bool:
    return one is not other and any(call.began < one.began and one.ended < call.ended for call in other.calls)
