"""A schedule run by hand, in the simplest way that could be right: what the executor is held against."""

import torch
from torch import nn

from layerscope.models.model import Model

Stages = tuple[tuple[int, ...], ...]

# The paper's variants at depth 4 and start 0, where blocks 1 to 3 are affected, written out; and what lies beyond them.
STAGES: dict[str, Stages] = {
    "identity": ((0,), (1,), (2,), (3,)),
    "skip:0": ((0,),),
    "middle_repeat:0": ((0,), (2,), (2,), (2,)),
    "reverse:0": ((0,), (3,), (2,), (1,)),
    "random:0:seed=1": ((0,), (2,), (3,), (1,)),
    "parallel:0": ((0,), (1, 2, 3)),
    "looped_parallel:0:loops=3": ((0,), (1, 2, 3), (1, 2, 3), (1, 2, 3)),
    "drop:3": ((0,), (1,), (2,)),
    "swap:0": ((1,), (0,), (2,), (3,)),
    "repeat:1-2:times=2": ((0,), (1,), (2,), (1,), (2,), (3,)),
    "repeat_each:0-1:times=2": ((0,), (0,), (1,), (1,), (2,), (3,)),
    "3 (0|0|2) 1*2": ((3,), (0, 0, 2), (1,), (1,)),
}


def run_by_hand(model: Model, stages: Stages, **inputs: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Return the state before the first stage and after each one, and the logits.

    The model runs all its blocks, each remembers what it was called with, and what the last one gives is replaced by what
    the blocks of the schedule give, called one by one.
    """
    calls: dict[int, tuple[tuple, dict]] = {}
    states: list[torch.Tensor] = []

    def remember(index: int):
        def hook(block: nn.Module, args: tuple, kwargs: dict) -> None:
            calls[index] = (args, kwargs)

        return hook

    def called(index: int, stream: torch.Tensor) -> torch.Tensor:
        args, kwargs = calls[index]
        if args:
            args = (stream, *args[1:])
        else:
            kwargs = kwargs | {"hidden_states": stream}
        output = model.blocks[index].forward(*args, **kwargs)  # not called, so that no hook hears of it
        return output[0] if isinstance(output, tuple) else output

    def replace(block: nn.Module, args: tuple, output):
        stream = calls[0][0][0] if calls[0][0] else calls[0][1]["hidden_states"]
        states.append(stream)
        for stage in stages:
            outputs = [called(index, stream) for index in stage]
            stream = outputs[0] if len(outputs) == 1 else torch.stack(outputs).mean(0)
            states.append(stream)
        return (stream, *output[1:]) if isinstance(output, tuple) else stream

    handles = [
        block.register_forward_pre_hook(remember(index), with_kwargs=True) for index, block in enumerate(model.blocks)
    ]
    handles.append(model.blocks[-1].register_forward_hook(replace))
    try:
        without_cache = {"use_cache": False} if model.architecture.causal else {}
        logits = model.module(**(inputs | without_cache)).logits
    finally:
        for handle in handles:
            handle.remove()
    return states, logits


def next_tokens_by_hand(
    model: Model, stages: Stages, ids: torch.Tensor, mask: torch.Tensor, new_tokens: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Decode greedily, everything computed anew for each token; return the ids and the logits of the new tokens."""
    steps = []
    for _ in range(new_tokens):
        positions = {}
        if model.architecture.position_ids:
            positions["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
        with torch.no_grad():
            _, logits = run_by_hand(model, stages, input_ids=ids, attention_mask=mask, **positions)
        steps.append(logits[:, -1])
        ids = torch.cat([ids, logits[:, -1:].argmax(-1)], dim=1)
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
    return ids, torch.stack(steps, dim=1)
