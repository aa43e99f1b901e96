"""States and schedules by hand, for any family: hooks on the blocks, and nothing of the package."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

__all__ = ["run_by_hand", "states_by_hand"]

Stages = Sequence[Sequence[int]]


def _stream(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    return args[0] if args else kwargs["hidden_states"]


def _first(output: Any) -> torch.Tensor:
    return output[0] if isinstance(output, tuple | list) else output


def states_by_hand(module: nn.Module, blocks: Sequence[nn.Module], norm: nn.Module | None, **inputs: Any) -> list:
    """Return what enters the first block, what leaves each, and what leaves the final norm where there is one."""
    states: dict[int, torch.Tensor] = {}
    first = blocks[0].register_forward_pre_hook(
        lambda _, args, kwargs: states.__setitem__(0, _stream(args, kwargs).clone()), with_kwargs=True
    )
    handles = [first] + [
        part.register_forward_hook(lambda _, __, output, n=number: states.__setitem__(n, _first(output).clone()))
        for number, part in enumerate([*blocks, *([] if norm is None else [norm])], start=1)
    ]
    try:
        with torch.no_grad():
            module(**inputs)
    finally:
        for handle in handles:
            handle.remove()
    return [states[number] for number in sorted(states)]


def run_by_hand(module: nn.Module, blocks: Sequence[nn.Module], stages: Stages, **inputs: Any) -> torch.Tensor:
    """Return the first output of the module (logits) with the blocks in other stages.

    All blocks run and note what they are called with; what the last one gives is replaced by what the stages give.
    """
    calls: list[tuple[tuple, dict]] = []

    def call(block: int, stream: torch.Tensor) -> torch.Tensor:
        args, kwargs = calls[block]
        if args:
            return _first(blocks[block].forward(stream, *args[1:], **kwargs))
        return _first(blocks[block].forward(**(kwargs | {"hidden_states": stream})))

    def replace(_: nn.Module, __: tuple, output: Any) -> Any:
        stream = _stream(*calls[0])
        for stage in stages:
            stream = torch.stack([call(block, stream) for block in stage]).mean(0)
        return type(output)([stream, *output[1:]]) if isinstance(output, tuple | list) else stream

    handles = [
        block.register_forward_pre_hook(lambda _, args, kwargs: calls.append((args, kwargs)), with_kwargs=True)
        for block in blocks
    ]
    handles.append(blocks[-1].register_forward_hook(replace))
    try:
        with torch.no_grad():
            output: torch.Tensor = module(**inputs)[0]
    finally:
        for handle in handles:
            handle.remove()
    return output
