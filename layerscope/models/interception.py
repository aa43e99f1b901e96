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
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import nn
from transformers import Cache

from layerscope.errors import UsageError
from layerscope.models.discovery.places import Call
from layerscope.models.discovery.streams import StreamPlaces, with_copied_caches
from layerscope.models.discovery.taps import is_tapped, tapped
from layerscope.models.model import Model
from layerscope.models.stream_guard import is_passed_on, stream_changed

__all__ = [
    "BlockCall",
    "BlockCalls",
    "Program",
    "Stream",
    "intercept_blocks",
    "require_not_intercepted",
]

Stream = Float[torch.Tensor, "sequence position feature"]


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
    places
        Where the stream is in them, and in the output.
    """

    block: nn.Module
    block_class: type[nn.Module]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    places: StreamPlaces

    def __call__(self, stream: Stream) -> Stream:
        """Run the block on `stream`, with all other arguments unchanged."""
        args, kwargs = self.places.in_call(self.args, self.kwargs, stream)
        return self.places.of_output(self.block_class.__call__(self.block, *args, **kwargs))

    def output(self) -> Any:
        """Return the whole output of the block for its stream; its cache does not change."""
        args, kwargs = with_copied_caches(self.args, self.kwargs)
        return self.block_class.__call__(self.block, *args, **kwargs)

    @property
    def others(self) -> Call:
        """The arguments, with None in the place of the stream."""
        return self.places.in_call(self.args, self.kwargs, None)


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
    ModelError
        Inside the context: something between two blocks changes the stream.
    """
    require_not_intercepted(model)
    interceptor = _Interceptor(model, program)
    with ExitStack() as stack:
        refused = _StatesRefused()
        for part in {id(part): part for part in (model.module, model.trunk)}.values():
            stack.enter_context(tapped(part, partial(refused.call, part, type(part))))
        for index, block in enumerate(model.blocks):
            stack.enter_context(tapped(block, partial(interceptor, index)))
        yield


def require_not_intercepted(model: Model) -> None:
    """Refuse a model whose blocks are intercepted already.

    Raises
    ------
    UsageError
        The model runs under a schedule.
    """
    if any(is_tapped(block) for block in model.blocks):
        raise UsageError(f"{model.name}: its blocks run under a schedule already; leave that context first")


class _Interceptor:
    """Records the block calls of a forward pass; the call of the last block runs the program."""

    def __init__(self, model: Model, program: Program) -> None:
        self._program = program
        self._model = model
        self._blocks = [(block, type(block)) for block in model.blocks]
        self._calls: list[BlockCall] = []
        self._stream: Stream | None = None

    def __call__(self, index: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        architecture = self._model.architecture
        stream = architecture.stream.of_call(args, kwargs)
        if index == 0:
            self._calls = []
        elif self._stream is None or not is_passed_on(self._stream, stream):
            self._calls, self._stream = [], None
            raise stream_changed(self._model, index)
        self._stream = stream
        call = BlockCall(*self._blocks[index], args, kwargs, architecture.stream)
        self._calls.append(call)
        form = architecture.outputs[index]
        made = call.output() if form.handed_on else None
        if index == len(self._blocks) - 1:
            start = architecture.stream.of_call(self._calls[0].args, self._calls[0].kwargs)
            calls, self._calls, self._stream = self._calls, [], None  # they hold the masks of this batch
            stream = self._program(BlockCalls(start, _cache_among(args, kwargs), calls))
        return form.filled(architecture.stream, (args, kwargs), stream, made)


def _cache_among(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Cache | None:
    return next((value for value in (*args, *kwargs.values()) if isinstance(value, Cache)), None)


class _StatesRefused:
    """Refuses hidden states and attentions that the caller asks for; the model's own code may ask its parts for them."""

    def __init__(self) -> None:
        self._inside = False

    def call(self, module: nn.Module, original: type[nn.Module], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the model or its trunk."""
        if self._inside:
            return original.__call__(module, *args, **kwargs)
        for name in ("output_hidden_states", "output_attentions"):
            requested = kwargs.get(name)
            if requested or (requested is None and getattr(getattr(module, "config", None), name, False)):
                raise UsageError(
                    f"{name} is not available under a schedule: transformers would return it in the wrong order.\n"
                    "Use ls.capture(…, schedule=…), which records the state after every stage."
                )
        self._inside = True
        try:
            return original.__call__(module, *args, **kwargs)
        finally:
            self._inside = False
