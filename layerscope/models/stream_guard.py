"""Check in every forward pass that the stream that reaches a block is the one that the block before gave.

The proof at load runs on text alone. Other inputs may take other ways: some models add features of an image to the stream between
blocks. A state that was read there would be wrong without a word.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from layerscope.errors import ModelError
from layerscope.models.discovery.places import same_bits
from layerscope.models.model import Model

__all__ = ["guarded_stream", "is_passed_on", "stream_changed"]


@contextmanager
def guarded_stream(model: Model) -> Iterator[None]:
    """Stop a forward pass in which something between two blocks changes the stream.

    Raises
    ------
    ModelError
        Inside the context: with the numbers of the two blocks.
    """
    last: list[torch.Tensor] = []

    def arrives(index: int, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if index > 0 and last and not is_passed_on(last[0], model.stream.of_call(args, kwargs)):
            raise stream_changed(model, index)

    def leaves(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        last[:] = [model.stream.of_output(output)]

    with ExitStack() as stack:
        for index, block in enumerate(model.blocks):
            stack.callback(block.register_forward_pre_hook(partial(arrives, index), with_kwargs=True).remove)
            stack.callback(block.register_forward_hook(leaves).remove)
        yield


def is_passed_on(given: torch.Tensor, arrived: torch.Tensor) -> bool:
    """Whether the stream that arrives at a block is the one that the block before gave: the tensor, or one of equal values."""
    return arrived is given or same_bits(given, arrived)


def stream_changed(model: Model, block: int) -> ModelError:
    """Return the error for a stream that changes between two blocks."""
    return ModelError(
        f"{model.name}: the stream that reaches block {block} is not the one that block {block - 1} gave: with these inputs "
        "something between the blocks changes it.\nRun the model on text alone: no images, nothing that writes into the stream."
    )
