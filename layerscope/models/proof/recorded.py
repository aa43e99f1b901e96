"""Facts that the recorded pass shows: the chain of the blocks, its sizes, and what follows it."""

from itertools import pairwise
from typing import Any

import torch

from layerscope.models.discovery.ends import final_norm, find_tail
from layerscope.models.discovery.places import same_bits
from layerscope.models.discovery.probe import moved_tokens
from layerscope.models.proof.evidence import Evidence
from layerscope.models.stream_guard import is_passed_on

__all__ = ["check_chain", "check_end", "check_shapes", "check_sizes_stated", "check_start", "check_unwritten"]


def check_chain(evidence: Evidence) -> None:
    """The blocks run once each, in order, and each reads what the one before gave."""
    model, calls = evidence.model, evidence.calls
    order = [next(index for index, block in enumerate(model.blocks) if block is call.module) for call in calls]
    if order != list(range(model.depth)):
        ran = ", ".join(map(str, order)) or "none"
        evidence.fail(f"one run of each block, in the order of the list (they ran as {ran})")
    for index, call in enumerate(calls):
        try:
            streams = model.stream.of_call(*call.arguments), model.stream.of_output(call.output)
        except (LookupError, AttributeError, TypeError):
            evidence.fail(f"a stream in the arguments and the output of block {index}")
        if not all(isinstance(stream, torch.Tensor) for stream in streams):
            evidence.fail(f"a stream that is a tensor (block {index})")
    for index, (one, other) in enumerate(pairwise(calls)):
        if not is_passed_on(model.stream.of_output(one.output), model.stream.of_call(*other.arguments)):
            evidence.fail(f"one stream (block {index + 1} does not read the output of block {index})")


def check_unwritten(evidence: Evidence) -> None:
    """No block writes into the stream that it reads: the state before it would be lost."""
    into = evidence.model.stream.into
    for index, call in enumerate(evidence.calls):
        version = call.versions.get(into)
        if version is not None and call.given[into]._version != version:
            evidence.fail(f"blocks that leave the stream they read as it was (block {index} writes into it)")


def check_shapes(evidence: Evidence) -> None:
    """Every state is a vector for each token."""
    for index, state in enumerate(evidence.states):
        shape = tuple(state.shape)
        if len(shape) != 3 or not evidence.probe.has_shape(shape):
            evidence.fail(f"a state for each token (state {index} has the shape {shape})")


def check_start(evidence: Evidence) -> None:
    """State 0 of a token depends on no other token, so no block runs before the first one."""
    one, other = evidence.states[0]
    if one.isfinite().all() and other.isfinite().all():
        moved = moved_tokens(one, other)
        if moved.sum() > 1:
            evidence.fail(
                "a state 0 of each token alone (it depends on other tokens, so something like a block runs before)"
            )


def check_end(evidence: Evidence) -> None:
    """The trunk returns what the final norm makes of the last state, bit for bit; without a norm, the last state."""
    model, stack = evidence.model, evidence.stack
    tail = find_tail(evidence.probe, stack, evidence.probe.watch.of(model.trunk)[0])
    norm = final_norm(tail, stack)
    named = None if norm is None else evidence.path(norm)
    if named != model.architecture.final_norm:
        evidence.fail(
            f"the final norm {model.architecture.final_norm} (what follows the last block is {named or 'nothing'})"
        )
    last = tail[-1].output if tail else evidence.states[-1]
    if not same_bits(last, evidence.trunk_output):
        after = evidence.path(tail[-1]) if tail else "the last block"
        evidence.fail(f"a trunk that returns the output of {after} bit for bit (something else follows it)")


def check_sizes_stated(evidence: Evidence) -> None:
    """The width of the states and the number of blocks are those that the configuration states."""
    model = evidence.model
    widths = {state.shape[-1] for state in evidence.states}
    width = _stated(model.text_config, "hidden_size")
    if width and widths != width:
        evidence.fail(
            f"the hidden_size of {_words(width)} that the configuration states (the states have {_words(widths)})"
        )
    # Blocks of the list may be left out on text (cross-attention to images); some families count two layers a block.
    listed = len(list(model.trunk.get_submodule(model.architecture.blocks).children()))
    depth = _stated(model.text_config, "num_hidden_layers", "num_layers")
    if depth and not depth & {model.depth, listed}:
        evidence.fail(
            f"the num_hidden_layers of {_words(depth)} that the configuration states ({model.depth} blocks ran)"
        )


def _stated(config: Any, *names: str) -> set[int]:
    values = [getattr(config, name, None) for name in names]
    return {value for value in values if isinstance(value, int)}


def _words(numbers: set[int]) -> str:
    return " or ".join(map(str, sorted(numbers)))
