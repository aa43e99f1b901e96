"""Record the calls of all modules during forward passes: who calls whom with what, in which order, and the results.

Tensors are recorded as the objects that they are, so that two modules can be seen to pass on one tensor. A module whose
``forward`` is called directly, not the module itself, is not heard.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import count
from typing import Any

import torch
from torch import nn

from layerscope.models.discovery.places import Call, Place, tensors_in

__all__ = ["ModuleCall", "Watch", "watch"]


@dataclass(eq=False)
class ModuleCall:
    """One call of one module.

    The record holds its tensors, so their identities stay theirs while the record lives.

    Attributes
    ----------
    name
        Path of the module in the watched one.
    module
        The module.
    arguments
        Positional arguments and keywords.
    parent
        The call from within which this one was made; None for the outermost.
    began, ended
        Times at which the call began and ended: each begin and end of the pass has its number, ascending.
    output
        What the module returned.
    versions
        The version counters of the tensors among the arguments when the call began; a later one means that the tensor was
        written in place.
    """

    name: str
    module: nn.Module
    arguments: Call
    parent: "ModuleCall | None"
    began: int
    ended: int = -1
    output: Any = None
    versions: dict[Place, int] = field(default_factory=dict)

    @cached_property
    def given(self) -> dict[Place, torch.Tensor]:
        """The tensors among the arguments, by place."""
        return tensors_in(self.arguments)

    @cached_property
    def made(self) -> dict[Place, torch.Tensor]:
        """The tensors in the output, by place; passed-on arguments are among them."""
        return tensors_in(self.output)

    def reads(self, tensor: torch.Tensor) -> bool:
        """Whether the very tensor, not one of equal values, is among the arguments."""
        return any(one is tensor for one in self.given.values())

    def within(self, other: "ModuleCall") -> bool:
        """Whether this call was made during the other one."""
        return other.began < self.began and self.ended < other.ended


@dataclass
class Watch:
    """The calls that were recorded, in the order in which they began."""

    calls: list[ModuleCall] = field(default_factory=list)

    def of(self, module: nn.Module) -> list[ModuleCall]:
        """Return the calls of one module."""
        return [call for call in self.calls if call.module is module]

    def inside(self, call: ModuleCall) -> list[ModuleCall]:
        """Return the calls made during another one."""
        return [other for other in self.calls if other.within(call)]

    def children(self, call: ModuleCall) -> list[ModuleCall]:
        """Return the calls made by another one directly."""
        return [other for other in self.calls if other.parent is call]


@contextmanager
def watch(module: nn.Module, parts: Iterable[nn.Module] | None = None) -> Iterator[Watch]:
    """Record the calls of a module and of everything in it, while the context is open.

    Parameters
    ----------
    module
        The module that runs.
    parts
        The modules of it whose calls are recorded; without them, all.

    Examples
    --------
    >>> network = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> with watch(network) as seen:
    ...     result = network(torch.zeros(1, 2))
    >>> [(call.name, call.began, call.ended) for call in seen.calls]
    [('', 0, 5), ('0', 1, 2), ('1', 3, 4)]
    >>> outer, linear, relu = seen.calls
    >>> relu.reads(linear.output), relu.output is result, linear.parent is outer
    (True, True, True)
    """
    recorder = _Recorder()
    wanted = None if parts is None else {id(part) for part in parts}
    handles = []
    try:
        for name, part in module.named_modules():
            if wanted is None or id(part) in wanted:
                handles.append(part.register_forward_pre_hook(partial(recorder.begin, name), with_kwargs=True))
                handles.append(part.register_forward_hook(recorder.end, with_kwargs=True))
        yield recorder.watch
    finally:
        for handle in handles:
            handle.remove()


class _Recorder:
    """The hooks of a watch: the calls that have begun and not ended, and the clock."""

    def __init__(self) -> None:
        self.watch = Watch()
        self._open: list[ModuleCall] = []
        self._clock = count()

    def begin(self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        parent = self._open[-1] if self._open else None
        call = ModuleCall(name, module, (args, dict(kwargs)), parent, next(self._clock))
        call.versions = {place: tensor._version for place, tensor in call.given.items() if not tensor.is_inference()}
        self._open.append(call)
        self.watch.calls.append(call)

    def end(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        call = self._open.pop()
        call.ended, call.output = next(self._clock), output
