"""Deferred execution: the model calls its blocks, and somebody else decides what runs.

While a model is tapped, each call of a block is only remembered, with the arguments that the model chose for that very block
(mask, rotary embeddings, cache, …), and the stream is passed through. The call of the last block hands all of them to a
program, which returns the stream the model goes on with. So every block gets its own arguments whatever the order, and no
family needs code of its own. Nothing in the tree of modules is replaced: a tapped block is the same object under a class that
differs from its own only in being called; so is the trunk, which refuses what would come out wrong. How this was chosen is
told in ``docs/design/deferred-execution.md``.

Knows no schedule.
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

__all__ = ["BlockCall", "BlockCalls", "Program", "Stream", "check_untapped", "tapped"]

Stream = Float[torch.Tensor, "sequence position feature"]

_TAP = "_layerscope_tap"


@dataclass(frozen=True)
class BlockCall:
    """How the model called one block in a forward pass.

    Attributes
    ----------
    block
        The block, and what the model gave it, its own stream included.
    own
        The class that the block has when it is not tapped.
    """

    block: nn.Module
    own: type[nn.Module]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def __call__(self, stream: Stream) -> Stream:
        """Run the block on `stream`, with the other arguments as they are."""
        if self.args:
            return stream_out(self.own.__call__(self.block, stream, *self.args[1:], **self.kwargs))
        return stream_out(self.own.__call__(self.block, **(self.kwargs | {"hidden_states": stream})))


@dataclass
class BlockCalls:
    """One forward pass of a model, as far as its blocks go: where it starts, and how each block is to be called.

    Attributes
    ----------
    stream
        State 0: the stream entering the first block.
    cache
        The key-value cache the model was given or made; None without.
    blocks
        The call of each block.
    """

    stream: Stream
    cache: Cache | None
    blocks: list[BlockCall] = field(repr=False)

    @property
    def depth(self) -> int:
        """How many blocks there are."""
        return len(self.blocks)

    def __call__(self, block: int, stream: Stream) -> Stream:
        """Run one block on `stream`, with the arguments the model chose for that block."""
        return self.blocks[block](stream)


Program = Callable[[BlockCalls], Stream]
"""What runs in place of the blocks; it returns the stream that the model goes on with."""


@contextmanager
def tapped(model: Model, program: Program) -> Iterator[None]:
    """Let `program` run in place of the model's blocks, in every forward pass inside the context.

    Raises
    ------
    UsageError
        When the model is tapped already; in a forward pass inside, when hidden states or attentions are asked for.
    """
    check_untapped(model)
    taps = _Taps(model, program)
    with ExitStack() as placed:
        for part in _runners(model):
            placed.enter_context(_called(part, partial(_refuse_states, part, type(part))))
        for index, block in enumerate(model.blocks):
            placed.enter_context(_called(block, partial(taps, index)))
        yield


def check_untapped(model: Model) -> None:
    """Refuse a model whose blocks run under a schedule already.

    Raises
    ------
    UsageError
        When they do.
    """
    if any(_TAP in vars(block) for block in model.blocks):
        raise UsageError(f"{model.name}: its blocks run under a schedule already; leave that context first")


def _runners(model: Model) -> list[nn.Module]:
    """Return the trunk and the part of it that runs the blocks, often the same; OPT's head goes past the trunk."""
    part = model.trunk.get_submodule(model.architecture.blocks.rpartition(".")[0])
    return [model.trunk] if part is model.trunk else [model.trunk, part]


@contextmanager
def _called(module: nn.Module, answer: Callable[[tuple[Any, ...], dict[str, Any]], Any]) -> Iterator[None]:
    """Let ``answer(args, kwargs)`` say what a call of `module` gives."""
    own = type(module)
    module.__dict__[_TAP] = answer
    module.__class__ = _tapped_class(own)  # type: ignore[arg-type]  # a class can be hashed
    try:
        yield
    finally:
        module.__class__ = own
        module.__dict__.pop(_TAP, None)


@cache
def _tapped_class(own: type) -> type[nn.Module]:
    """Make a class like `own` whose instances, called, report to their tap; copies and pickles are of `own` itself."""

    def called(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return self.__dict__[_TAP](args, kwargs)

    def reduced(self: nn.Module, protocol: Any) -> tuple[Any, ...]:
        state = {name: value for name, value in self.__dict__.items() if name != _TAP}
        return object.__new__, (own,), state

    facts = {
        "__call__": called,
        "__reduce_ex__": reduced,
        "__module__": own.__module__,
        "__qualname__": own.__qualname__,
    }
    tapped_class = type(own.__name__, (own,), facts)
    if "forward" in vars(tapped_class):  # the library wraps it in every class of a block, for gradient checkpointing
        del tapped_class.forward  # type: ignore[attr-defined]
    return tapped_class


class _Taps:
    """All taps of one model: they remember the calls of a forward pass, and the last one runs the program."""

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
            calls, self._calls = self._calls, []  # which hold the masks of this batch, and are not needed after it
            stream = self._program(BlockCalls(stream, _cache_in(args, kwargs), calls))
        return (stream,) if self._returns_tuple else stream


def _cache_in(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Cache | None:
    return next((value for value in (*args, *kwargs.values()) if isinstance(value, Cache)), None)


def _refuse_states(module: nn.Module, own: type[nn.Module], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    for name in ("output_hidden_states", "output_attentions"):
        wanted = kwargs.get(name)
        if wanted or (wanted is None and getattr(getattr(module, "config", None), name, False)):
            raise UsageError(
                f"{name} cannot be had under a schedule, whose blocks run in another order than the model thinks.\n"
                "Use ls.capture(…, schedule=…), which keeps the state after every stage."
            )
    return own.__call__(module, *args, **kwargs)
