"""The causal check: the row of the architecture table is proved on the loaded weights, not believed.

Five facts are shown on a handful of tokens:

1. each block's input is the previous block's output, so the listed blocks are the whole residual stream, in order;
2. blocks return a tuple exactly where the table says so, and the final norm, where there is one, reads the last state;
3. replaying the blocks from state 0 gives the model's own output bit for bit;
4. leaving one block out of the replay changes that output;
5. a change of the last token reaches earlier tokens if and only if the family is an encoder.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from layerscope.errors import ModelError
from layerscope.models.model import Model, stream_in, stream_out

__all__ = ["prove"]

_TOKENS = 7


@dataclass
class _Trace:
    """What one forward pass showed: every block's call and result, and the final norm's input."""

    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)
    normed: torch.Tensor | None = None

    @property
    def states(self) -> list[torch.Tensor]:
        return [stream_in(*self.calls[0]), *map(stream_out, self.outputs)]


def prove(model: Model) -> None:
    """Prove the model's row of the architecture table.

    Raises
    ------
    ModelError
        When the weights are not finite, or when one of the five facts does not hold.
    """
    ids = torch.arange(5, 5 + _TOKENS).remainder(model.config.vocab_size)[None].to(model.device)
    training = model.module.training
    model.module.eval()
    try:
        with torch.no_grad():
            trace, output = _traced(model, ids)
            if not output.isfinite().all():
                _refuse_bad_weights(model)
            _prove_chain(model, trace)
            _prove_replay(model, ids, trace, output)
            _prove_direction(model, ids, trace)
    finally:
        model.module.train(training)


def _forward(model: Model, ids: torch.Tensor) -> torch.Tensor:
    """Run the whole model, head included where it has one, and return its first output."""
    arguments = model.inputs(ids, torch.ones_like(ids))
    output: torch.Tensor = model.module(**arguments)[0]
    return output


@contextmanager
def _hooks(*handles: torch.utils.hooks.RemovableHandle) -> Iterator[None]:
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _traced(model: Model, ids: torch.Tensor) -> tuple[_Trace, torch.Tensor]:
    trace = _Trace()

    def after(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        trace.calls.append((args, kwargs))
        trace.outputs.append(output)

    def at_norm(_: nn.Module, args: tuple[Any, ...]) -> None:
        trace.normed = args[0]

    handles = [block.register_forward_hook(after, with_kwargs=True) for block in model.blocks]
    if model.final_norm is not None:
        handles.append(model.final_norm.register_forward_pre_hook(at_norm))
    with _hooks(*handles):
        output = _forward(model, ids)
    return trace, output


def _prove_chain(model: Model, trace: _Trace) -> None:
    if len(trace.outputs) != model.depth:
        _fail(model, f"one forward pass called {len(trace.outputs)} blocks, the table lists {model.depth}")
    for index, call in enumerate(trace.calls):
        if not _same_bits(stream_in(*call), trace.states[index]):
            _fail(model, f"block {index} does not read what block {index - 1} gave")
        if isinstance(trace.outputs[index], tuple) != model.architecture.tuple_output:
            _fail(model, f"block {index} returns a {type(trace.outputs[index]).__name__}, the table says otherwise")
    if trace.normed is not None and not _same_bits(trace.normed, trace.states[-1]):
        _fail(model, f"{model.architecture.final_norm} does not read the last block's output")


def _prove_replay(model: Model, ids: torch.Tensor, trace: _Trace, output: torch.Tensor) -> None:
    replayed = _replay(model, trace)
    if not _same_bits(_with_last_state(model, ids, replayed), output):
        _fail(model, "replaying the blocks from state 0 does not give the model's own output")
    without = _replay(model, trace, left_out=model.depth // 2)
    if _same_bits(_with_last_state(model, ids, without), output) and output.isfinite().all():
        _fail(model, f"leaving out block {model.depth // 2} changes nothing")


def _prove_direction(model: Model, ids: torch.Tensor, trace: _Trace) -> None:
    changed = ids.clone()
    changed[:, -1] = (ids[:, -1] + 1) % model.config.vocab_size
    other, _ = _traced(model, changed)
    before, after = trace.states[-1][:, :-1], other.states[-1][:, :-1]
    if not before.isfinite().all():
        return
    unchanged = torch.allclose(before, after, rtol=1e-3, atol=1e-3 * float(before.abs().max()))
    if unchanged != model.architecture.causal:
        seen = "never sees" if unchanged else "sees"
        _fail(model, f"an earlier token {seen} a later one, the table says causal={model.architecture.causal}")


def _replay(model: Model, trace: _Trace, left_out: int | None = None) -> torch.Tensor:
    stream = trace.states[0]
    for index, (block, (args, kwargs)) in enumerate(zip(model.blocks, trace.calls, strict=True)):
        if index == left_out:
            continue
        if args:
            stream = stream_out(block(stream, *args[1:], **kwargs))
        else:
            stream = stream_out(block(**(kwargs | {"hidden_states": stream})))
    return stream


def _with_last_state(model: Model, ids: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
    """Run the model with the last block's output replaced by `state`."""

    def replace(_: nn.Module, __: tuple[Any, ...], output: Any) -> Any:
        return (state, *output[1:]) if isinstance(output, tuple) else state

    with _hooks(model.blocks[-1].register_forward_hook(replace)):
        return _forward(model, ids)


def _same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Compare bit for bit, so that a NaN equals itself."""
    return one.shape == other.shape and torch.equal(
        one.contiguous().view(torch.uint8), other.contiguous().view(torch.uint8)
    )


def _refuse_bad_weights(model: Model) -> None:
    for name, tensor in model.module.state_dict().items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            kind = "NaN" if tensor.isnan().any() else "Inf"
            raise ModelError(
                f"{model.name}: the weights hold {kind}, first in {name}. The checkpoint is damaged: fetch it again."
            )


def _fail(model: Model, what: str) -> None:
    raise ModelError(
        f"{model.name}: the architecture table is wrong for this {model.architecture.family} model: {what}.\n"
        "Mend its row in layerscope/models/architectures.py (docs/extending.md), or report the model."
    )
