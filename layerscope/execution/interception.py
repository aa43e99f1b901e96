"""Intercept the block calls of a model, so that a program decides which blocks run and in which order.

Inside `intercept_blocks`, each block call only records the arguments that the model passes to that block (mask, rotary
embeddings, cache, …) and returns the stream unchanged. The call of the last block passes all recorded calls to a program,
which returns the stream that enters the final norm. Every block therefore runs with its own arguments in any order, and no
model family needs special code. The module tree does not change: an intercepted block is the same object with a subclass of
its class that overrides ``__call__``. See ``docs/design/deferred-execution.md``.

This module does not import schedules.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import torch
from jaxtyping import Float
from torch import nn
from transformers import Cache

from layerscope.errors import UsageError
from layerscope.models.model import Model, stream_in, stream_out

__all__ = ["BlockCall", "BlockCalls", "Program", "Stream", "intercept_blocks", "require_not_intercepted"]

Stream = Float[torch.Tensor, "sequence position feature"]

_INTERCEPTOR = "_layerscope_interceptor"


@dataclass(frozen=True)
class BlockCall:
    """The call of one block in a forward pass, as the model made it.

    Attributes
    ----------
    block
        The block.
    block_class
        Class of the block while it is not intercepted.
    args, kwargs
        Arguments of the call, the incoming stream included.
    """

    block: nn.Module
    block_class: type[nn.Module]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def __call__(self, stream: Stream) -> Stream:
        """Run the block on `stream`, with all other arguments unchanged."""
        if self.args:
            return stream_out(self.block_class.__call__(self.block, stream, *self.args[1:], **self.kwargs))
        return stream_out(self.block_class.__call__(self.block, **(self.kwargs | {"hidden_states": stream})))


@dataclass
class BlockCalls:
    """The block calls of one forward pass.

    Attributes
    ----------
    stream
        State 0: the stream that enters the first block.
    cache
        The key-value cache of the forward pass; None without a cache.
    blocks
        The call of each block.
    """

    stream: Stream
    cache: Cache | None
    blocks: list[BlockCall] = field(repr=False)

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    def __call__(self, block: int, stream: Stream) -> Stream:
        """Run one block on `stream`, with the arguments that the model passed to that block."""
        return self.blocks[block](stream)


Program = Callable[[BlockCalls], Stream]
"""Runs in place of the blocks and returns the stream that enters the final norm."""


@contextmanager
def intercept_blocks(model: Model, program: Program) -> Iterator[None]:
    """Run `program` in place of the model's blocks, in every forward pass inside the context.

    Raises
    ------
    UsageError
        The model is intercepted already. Inside the context: a forward pass requests hidden states or attentions.
    """
    require_not_intercepted(model)
    interceptor = _Interceptor(model, program)
    with ExitStack() as stack:
        for part in _parts_with_block_loop(model):
            stack.enter_context(_override_call(part, partial(_refuse_states, part, type(part))))
        for index, block in enumerate(model.blocks):
            stack.enter_context(_override_call(block, partial(interceptor, index)))
        yield


def require_not_intercepted(model: Model) -> None:
    """Refuse a model whose blocks are intercepted already.

    Raises
    ------
    UsageError
        The model runs under a schedule.
    """
    if any(_INTERCEPTOR in vars(block) for block in model.blocks):
        raise UsageError(f"{model.name}: its blocks run under a schedule already; leave that context first")


def _parts_with_block_loop(model: Model) -> list[nn.Module]:
    """Return the trunk, and the part of it that calls the blocks where that is another module."""
    # The head of OPT calls this part directly, not through the trunk.
    part = model.trunk.get_submodule(model.architecture.blocks.rpartition(".")[0])
    return [model.trunk] if part is model.trunk else [model.trunk, part]


@contextmanager
def _override_call(module: nn.Module, answer: Callable[[tuple[Any, ...], dict[str, Any]], Any]) -> Iterator[None]:
    """Return ``answer(args, kwargs)`` from each call of `module` inside the context."""
    original = type(module)
    module.__dict__[_INTERCEPTOR] = answer
    module.__class__ = _intercepted_class(original)  # type: ignore[arg-type]  # a class can be hashed
    try:
        yield
    finally:
        module.__class__ = original
        module.__dict__.pop(_INTERCEPTOR, None)


@cache
def _intercepted_class(original: type) -> type[nn.Module]:
    """Return a subclass whose instances call their interceptor; copies and pickles of them are of the original class."""

    def call(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return self.__dict__[_INTERCEPTOR](args, kwargs)

    def reduce(self: nn.Module, protocol: Any) -> tuple[Any, ...]:
        state = {name: value for name, value in self.__dict__.items() if name != _INTERCEPTOR}
        return object.__new__, (original,), state

    members = {
        "__call__": call,
        "__reduce_ex__": reduce,
        "__module__": original.__module__,
        "__qualname__": original.__qualname__,
    }
    intercepted = type(original.__name__, (original,), members)
    if "forward" in vars(intercepted):  # transformers wraps it in every subclass of a block, for gradient checkpointing
        del intercepted.forward  # type: ignore[attr-defined]
    return intercepted


class _Interceptor:
    """Records the block calls of a forward pass; the call of the last block runs the program."""

    def __init__(self, model: Model, program: Program) -> None:
        self._program = program
        self._blocks = [(block, type(block)) for block in model.blocks]
        self._returns_tuple = model.architecture.tuple_output
        self._calls: list[BlockCall] = []

    def __call__(self, index: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if index == 0:
            self._calls = []
        stream = stream_in(args, kwargs)
        self._calls.append(BlockCall(*self._blocks[index], args, kwargs))
        if index == len(self._blocks) - 1:
            calls, self._calls = self._calls, []  # the calls hold the masks of this batch: keep no reference
            stream = self._program(BlockCalls(stream, _cache_among(args, kwargs), calls))
        return (stream,) if self._returns_tuple else stream


def _cache_among(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Cache | None:
    return next((value for value in (*args, *kwargs.values()) if isinstance(value, Cache)), None)


def _refuse_states(module: nn.Module, original: type[nn.Module], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    for name in ("output_hidden_states", "output_attentions"):
        requested = kwargs.get(name)
        if requested or (requested is None and getattr(getattr(module, "config", None), name, False)):
            raise UsageError(
                f"{name} is not available under a schedule: transformers would return it in the wrong order.\n"
                "Use ls.capture(…, schedule=…), which records the state after every stage."
            )
    return original.__call__(module, *args, **kwargs)
