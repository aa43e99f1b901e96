"""Run one block again and record the tensors that its parts read and return, also with some of these outputs fixed.

The blocks are called with the arguments of one forward pass of the model. This module does not depend on families.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from layerscope.models.discovery.places import Place
from layerscope.models.discovery.streams import StreamPlaces
from layerscope.models.discovery.watch import watch
from layerscope.models.model import Model

__all__ = ["BlockReplay", "Part", "PartCall", "record_blocks"]


_WHOLE = Place()  # of an output that is the tensor


@dataclass(frozen=True)
class Part:
    """A tensor that a module inside a block returns.

    Attributes
    ----------
    path
        Path of the module in the block.
    place
        Where the tensor is in its output.
    """

    path: str
    place: Place = _WHOLE

    def of(self, output: Any) -> torch.Tensor:
        """Return the tensor from an output of the module."""
        tensor: torch.Tensor = self.place.read(output)
        return tensor

    def put(self, output: Any, tensor: torch.Tensor) -> Any:
        """Return an output of the module with another tensor in this place."""
        return self.place.replaced(output, tensor.reshape(self.of(output).shape))


@dataclass(frozen=True)
class PartCall:
    """One call of a part of a block.

    Attributes
    ----------
    part
        The part.
    read, returned
        The tensors that it read, and a copy of the tensor that it returned, in the shape of the stream.
    has_weights
        Whether the module has parameters, unlike dropout.
    """

    part: Part
    read: tuple[torch.Tensor, ...]
    returned: torch.Tensor
    has_weights: bool


@dataclass(frozen=True)
class BlockReplay:
    """The call of one block in a forward pass, to be repeated on other streams.

    Attributes
    ----------
    block
        The block.
    args, kwargs
        Arguments of the call.
    places
        Where the stream is in them, and in the output.
    before
        The stream that it read.
    """

    block: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    places: StreamPlaces
    before: torch.Tensor

    def watch(
        self, before: torch.Tensor, held: Mapping[Part, torch.Tensor] | None = None
    ) -> tuple[torch.Tensor, list[PartCall]]:
        """Run the block on a stream, with the outputs of some parts replaced by others.

        Returns
        -------
        after, calls
            The stream that leaves the block; the calls of its parts as they ended, without parts that run several times.
        """
        calls: list[PartCall] = []
        with ExitStack() as stack:
            for part, tensor in (held or {}).items():
                module = self.block.get_submodule(part.path)
                stack.enter_context(module.register_forward_hook(partial(_hold, part, tensor)))
            for path, module in self.block.named_modules():
                if path:
                    hook = partial(_note, calls, path, before.shape)
                    stack.enter_context(module.register_forward_hook(hook, with_kwargs=True))
            after = self._run(before)
        times = [call.part for call in calls]
        return after, [call for call in calls if times.count(call.part) == 1]

    def _run(self, before: torch.Tensor) -> torch.Tensor:
        before = before.clone()  # a block may write into the stream that it reads
        args, kwargs = self.places.in_call(self.args, self.kwargs, before)
        return self.places.of_output(self.block(*args, **kwargs))


def record_blocks(model: Model, inputs: dict[str, Any]) -> list[BlockReplay]:
    """Run the trunk once on its arguments, and return the calls of the blocks.

    No block writes into the stream that it reads; see the proof.
    """
    with watch(model.trunk, model.blocks) as seen:
        model.trunk(**inputs)
    places = model.stream
    return [BlockReplay(call.module, *call.arguments, places, places.of_call(*call.arguments)) for call in seen.calls]


def _note(
    calls: list[PartCall],
    path: str,
    shape: torch.Size,
    module: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    output: Any,
) -> None:
    read = tuple(value.reshape(shape) for value in (*args, *kwargs.values()) if _is_stream(value, shape))
    weights = any(True for _ in module.parameters())
    several = isinstance(output, tuple | list)
    items = {Place((index,)): item for index, item in enumerate(output)} if several else {_WHOLE: output}
    for place, item in items.items():
        if _is_stream(item, shape):  # a copy: the block may add to the tensor in place
            calls.append(PartCall(Part(path, place), read, item.reshape(shape).clone(), weights))


def _is_stream(value: Any, shape: torch.Size) -> bool:
    """Return whether a value has the shape of the stream, or that of its tokens in one row (OPT)."""
    return (
        isinstance(value, torch.Tensor)
        and value.is_floating_point()
        and value.shape in (shape, (shape[:-1].numel(), shape[-1]))
    )


def _hold(part: Part, tensor: torch.Tensor, _: nn.Module, __: tuple[Any, ...], output: Any) -> Any:
    return part.put(output, tensor.clone())
