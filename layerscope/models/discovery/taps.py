"""Answer the calls of a module in its place, without changing the module tree.

A tapped module is the same object with a subclass of its class that overrides ``__call__``, so parameter names, hooks and
attributes that the model reads of it stay.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from typing import Any

import torch
from torch import nn

from layerscope.models.discovery.architecture import Architecture
from layerscope.models.discovery.places import Call
from layerscope.models.discovery.probe import first_tensor

__all__ = ["blocks_of", "is_tapped", "run_without_blocks", "tapped"]

_ANSWER = "_layerscope_answer"


@contextmanager
def tapped(module: nn.Module, answer: Callable[[tuple[Any, ...], dict[str, Any]], Any]) -> Iterator[None]:
    """Return ``answer(args, kwargs)`` from each call of `module` inside the context."""
    original = type(module)
    module.__dict__[_ANSWER] = answer
    module.__class__ = _tapped_class(original)  # type: ignore[arg-type]  # a class can be hashed
    try:
        yield
    finally:
        module.__class__ = original
        module.__dict__.pop(_ANSWER, None)


def is_tapped(module: nn.Module) -> bool:
    """Whether the calls of a module are answered in its place."""
    return _ANSWER in vars(module)


@cache
def _tapped_class(original: type) -> type[nn.Module]:
    """Return a subclass whose instances call their answer; copies and pickles of them are of the original class."""

    def call(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return self.__dict__[_ANSWER](args, kwargs)

    def reduce(self: nn.Module, protocol: Any) -> tuple[Any, ...]:
        state = {name: value for name, value in self.__dict__.items() if name != _ANSWER}
        return object.__new__, (original,), state

    members = {
        "__call__": call,
        "__reduce_ex__": reduce,
        "__module__": original.__module__,
        "__qualname__": original.__qualname__,
    }
    subclass = type(original.__name__, (original,), members)
    if "forward" in vars(subclass):  # transformers wraps it in every subclass of a block, for gradient checkpointing
        del subclass.forward  # type: ignore[attr-defined]
    return subclass


def blocks_of(module: nn.Module, architecture: Architecture) -> list[nn.Module]:
    """Return the blocks of a model in running order."""
    items = list(module.get_submodule(architecture.trunk).get_submodule(architecture.blocks).children())
    return [items[index] for index in architecture.items]


def run_without_blocks(
    module: nn.Module, architecture: Architecture, streams: list[torch.Tensor] | None, inputs: dict[str, Any]
) -> tuple[list[Call], torch.Tensor]:
    """Run the trunk, and give `streams` as what its blocks return, which do not run; without them, what each block was given.

    Returns
    -------
    tuple
        The calls of the blocks, and the first tensor that the trunk returns.
    """
    calls: list[Call] = []

    def answer(
        index: int, block: nn.Module, original: type[nn.Module], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        calls.append((args, kwargs))
        form = architecture.outputs[index]
        made = original.__call__(block, *args, **kwargs) if form.handed_on else None
        stream = architecture.stream.of_call(args, kwargs) if streams is None else streams[index]
        return form.filled(architecture.stream, (args, kwargs), stream, made)

    with ExitStack() as stack:
        for index, block in enumerate(blocks_of(module, architecture)):
            stack.enter_context(tapped(block, partial(answer, index, block, type(block))))
        output = module.get_submodule(architecture.trunk)(**inputs)
    return calls, first_tensor(output)
