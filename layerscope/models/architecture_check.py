"""Check the row of the architecture table on the loaded weights.

The parts that the row names must exist. Then six facts are checked on seven tokens:

1. The blocks run once each, in the listed order. The input of each is the output of the previous one, as wide as the model.
2. Blocks return a tuple exactly if the table has so.
3. The final norm follows the last state. If the table has no final norm, the trunk returns the last state itself.
4. State 0 of a token depends on no other token, so no block runs before the first one listed.
5. A change of one token reaches the last state of earlier tokens if and only if the family is an encoder. (With ablated attention
   it reaches no other token at all.)
6. Replaying the blocks from state 0 gives the model's own output bit for bit. If the output of every block is replaced, the next
   block (and the final norm) reads the replacement.

No fact depends on the values of the weights: a block whose output projections are zero passes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn

import torch
from torch import nn

from layerscope.errors import ModelError
from layerscope.models.eval_mode import eval_mode
from layerscope.models.loader_errors import translate_loader_errors
from layerscope.models.model import Model, stream_in, stream_out
from layerscope.models.module_check import check_module, quantised_part

__all__ = ["check_architecture"]

_TOKENS = 7
_CHANGED = 3  # index of the changed token, with tokens before and after it


@dataclass
class _Trace:
    """Record of one forward pass: the calls and results of all blocks, of the final norm and of the trunk."""

    order: list[int] = field(default_factory=list)
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)
    normed: list[tuple[Any, Any]] = field(default_factory=list)
    trunk: list[Any] = field(default_factory=list)

    @property
    def states(self) -> list[torch.Tensor]:
        return [stream_in(*self.calls[0]), *map(stream_out, self.outputs)]


def check_architecture(model: Model) -> None:
    """Check the model's row of the architecture table.

    Raises
    ------
    ModelError
        The module fails `check_module`, a part is missing, or one of the six facts does not hold.
    """
    check_module(model.module, model.name)
    _check_parts(model)
    ids = torch.arange(5, 5 + _TOKENS).remainder(model.config.vocab_size)[None].to(model.device)
    with eval_mode(model.module), torch.no_grad():
        with translate_loader_errors(model.name, "a forward pass fails: correct its configuration"):
            trace, output = _traced(model, ids)
        _check_chain(model, trace)
        _check_end(model, trace)
        _check_reach(model, ids, trace)
        _check_replay(model, ids, trace, output)
        _check_links(model, ids, trace)


def _check_parts(model: Model) -> None:
    try:
        blocks, _, _ = model.blocks, model.final_norm, model.max_positions
    except AttributeError as error:
        _fail(model, str(error))
    if not blocks:
        _fail(model, f"there are no blocks in {model.architecture.blocks!r}")


def _forward(model: Model, ids: torch.Tensor) -> torch.Tensor:
    """Run the complete model, with its head if it has one, and return its first output."""
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
    handles = [
        block.register_forward_hook(partial(_at_block, trace, index), with_kwargs=True)
        for index, block in enumerate(model.blocks)
    ]
    if model.final_norm is not None:
        handles.append(model.final_norm.register_forward_hook(partial(_at_norm, trace)))
    handles.append(model.trunk.register_forward_hook(partial(_at_end, trace)))
    with _hooks(*handles):
        output = _forward(model, ids)
    return trace, output


def _at_block(
    trace: _Trace, index: int, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
) -> None:
    trace.order.append(index)
    trace.calls.append((args, kwargs))
    trace.outputs.append(output)


def _at_norm(trace: _Trace, _: nn.Module, args: tuple[Any, ...], output: Any) -> None:
    trace.normed.append((args[0] if args else None, output))


def _at_end(trace: _Trace, _: nn.Module, __: tuple[Any, ...], output: Any) -> None:
    trace.trunk.append(output[0])


def _check_chain(model: Model, trace: _Trace) -> None:
    if sorted(trace.order) != list(range(model.depth)):
        _fail(model, f"one forward pass ran {len(trace.order)} blocks, the table lists {model.depth}")
    if trace.order != list(range(model.depth)):
        _fail(model, f"the model runs its blocks in another order than listed in the table: {trace.order}")
    for index, ((args, kwargs), output) in enumerate(zip(trace.calls, trace.outputs, strict=True)):
        if not args and "hidden_states" not in kwargs:
            _fail(model, f"block {index} takes no hidden_states, but {', '.join(kwargs) or 'nothing'}")
        if isinstance(output, tuple) != model.architecture.tuple_output:
            _fail(model, f"block {index} returns a {type(output).__name__}, unlike in the table")
        for stream in (
            args[0] if args else kwargs["hidden_states"],
            output[0] if isinstance(output, tuple) else output,
        ):
            if not isinstance(stream, torch.Tensor):
                _fail(model, f"block {index} passes on a {type(stream).__name__}, not a tensor")
    for index, call in enumerate(trace.calls):
        if not _same_bits(stream_in(*call), trace.states[index]):
            _fail(model, f"block {index} does not read the output of block {index - 1}")
    for index, state in enumerate(trace.states):
        if state.shape != (1, _TOKENS, model.width):
            _fail(
                model,
                f"state {index} has the shape {tuple(state.shape)}, not {_TOKENS} tokens of {model.width} features",
            )


def _check_end(model: Model, trace: _Trace) -> None:
    last, norm = trace.states[-1], model.architecture.final_norm
    if norm is None:
        if not _same_bits(trace.trunk[0], last):
            _fail(model, "something follows the last block, the table has final_norm=None")
    elif model.final_norm is not None:  # some checkpoints of a family leave the norm out
        read, given = trace.normed[0] if len(trace.normed) == 1 else (None, None)
        if not isinstance(read, torch.Tensor) or not _same_bits(read, last):
            _fail(model, f"{norm} does not read the last block's output")
        if not isinstance(given, torch.Tensor) or given.shape != last.shape:
            _fail(model, f"{norm} does not return a tensor of the shape of a state")


def _check_reach(model: Model, ids: torch.Tensor, trace: _Trace) -> None:
    if not trace.states[-1].isfinite().all():
        return  # finite weights that overflow in half precision: a capture names the place
    changed = ids.clone()
    changed[:, _CHANGED] = (ids[:, _CHANGED] + 1) % model.config.vocab_size
    other, _ = _traced(model, changed)
    moved = _moved(trace.states[0], other.states[0])
    if moved[:_CHANGED].any() or moved[_CHANGED + 1 :].any():
        _fail(model, f"state 0 of a token depends on other tokens, so blocks run before {model.architecture.blocks}.0")
    moved = _moved(trace.states[-1], other.states[-1])
    sees, mixes = bool(moved[:_CHANGED].any()), bool(moved[_CHANGED + 1 :].any())
    if sees and model.architecture.causal:
        _fail(model, "an earlier token sees a later one, the table has causal=True")
    if (
        mixes and not sees and not model.architecture.causal
    ):  # a model whose attention is ablated mixes no tokens at all
        _fail(model, "an earlier token never sees a later one, the table has causal=False")


def _moved(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Return for each token whether its state differs by more than rounding."""
    before, after = before[0].float(), after[0].float()
    moved: torch.Tensor = (after - before).norm(dim=-1) > 1e-3 * before.norm(dim=-1)
    return moved


def _check_replay(model: Model, ids: torch.Tensor, trace: _Trace, output: torch.Tensor) -> None:
    with _hooks(_replace(model.blocks[-1], _replay(model, trace))):
        if not _same_bits(_forward(model, ids), output):
            _fail(model, "replaying the blocks from state 0 does not give the model's own output")


def _check_links(model: Model, ids: torch.Tensor, trace: _Trace) -> None:
    """Check that each block reads the output of the previous one, also after that output is replaced."""
    given = [_changed(state) for state in trace.states[1:]]
    with _hooks(*map(_replace, model.blocks, given)):
        changed, _ = _traced(model, ids)
    for index in range(1, model.depth):
        if not _same_bits(stream_in(*changed.calls[index]), given[index - 1]):
            _fail(model, f"block {index} does not read the output of block {index - 1} after it is replaced")
    _check_end(model, changed)


def _replay(model: Model, trace: _Trace) -> torch.Tensor:
    stream = trace.states[0]
    for block, (args, kwargs) in zip(model.blocks, trace.calls, strict=True):
        if args:
            stream = stream_out(block(stream, *args[1:], **kwargs))
        else:
            stream = stream_out(block(**(kwargs | {"hidden_states": stream})))
    return stream


def _changed(state: torch.Tensor) -> torch.Tensor:
    """Return a state that differs from `state` in every token."""
    return state.flip(-1) + torch.linspace(-1, 1, state.shape[-1], dtype=state.dtype, device=state.device)


def _replace(block: nn.Module, state: torch.Tensor) -> torch.utils.hooks.RemovableHandle:
    """Replace the output of a block by `state`."""

    def replaced(_: nn.Module, __: tuple[Any, ...], output: Any) -> Any:
        return (state, *output[1:]) if isinstance(output, tuple) else state

    return block.register_forward_hook(replaced)


def _same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Compare bit for bit; a NaN equals itself."""
    return one.shape == other.shape and torch.equal(
        one.contiguous().view(torch.uint8), other.contiguous().view(torch.uint8)
    )


def _fail(model: Model, what: str) -> NoReturn:
    if quantised := quantised_part(model.module):
        raise ModelError(
            f"{model.name}: the weights are quantised ({quantised}), and the check of the blocks fails: {what}.\n"
            "Give the plain model, not quantised."
        )
    raise ModelError(
        f"{model.name}: the architecture table is wrong for this {model.architecture.family} model: {what}.\n"
        "Correct its row in layerscope/models/architectures.py (docs/extending.md), or report the model."
    )
