"""Find the architecture of a model in one recorded forward pass. The result is a guess until it is proved."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NoReturn

from torch import nn

from layerscope.errors import ModelError
from layerscope.models.discovery.architecture import Architecture
from layerscope.models.discovery.cached import CachedProbe
from layerscope.models.discovery.ends import final_norm, find_positions, find_tail, find_trunk, relative_path
from layerscope.models.discovery.places import leaves_in, means_the_same
from layerscope.models.discovery.probe import CHANGED, TOKENS, Probe, accepted, moved_tokens, positions_of, trunk_inputs
from layerscope.models.discovery.stacks import Search, Stack, find_stacks
from layerscope.models.discovery.streams import OutputForm
from layerscope.models.discovery.taps import run_without_blocks

__all__ = ["discover", "refuse_undiscovered"]


def discover(module: Any, probe: Probe, cached: CachedProbe | None, name: str) -> Architecture:
    """Return what one recorded pass shows of the architecture.

    Parameters
    ----------
    module
        A transformers model.
    probe, cached
        Its recorded pass, and the one with a cache if it has one.
    name
        The name of the model, for messages.

    Raises
    ------
    ModelError
        No stack of blocks carries a stream, or several streams run side by side.
    """
    search = find_stacks(module, probe.watch)
    stack = _stack_of(search, probe, name, module)
    trunk = find_trunk(probe, stack)
    norm = final_norm(find_tail(probe, stack, trunk), stack)
    positions = find_positions(probe, stack, trunk) if probe.reads_text else None
    causal = probe.reads_text and _is_causal(stack, cached)
    faithful = cached is not None and cached.agrees(probe)
    found = Architecture(
        family=str(module.config.model_type),
        main_input=next(iter(probe.inputs)),
        trunk=trunk.name,
        blocks=relative_path(stack.path, trunk.name),
        items=stack.items,
        stream=stack.stream,
        outputs=tuple(_forms(stack)),
        final_norm=None if norm is None else relative_path(norm.name, trunk.name),
        head=_head(module, probe) if causal else None,
        causal=causal,
        position_ids=False,
        cache=cached.argument if cached is not None and faithful else None,
        positions=None if positions is None else positions.path,
        first_position=0 if positions is None else positions.first,
    )
    return replace(found, position_ids=_takes_positions(module, found, stack, probe))


def _forms(stack: Stack) -> Iterator[OutputForm]:
    """Yield the form of the output of each block."""
    places = stack.stream
    for index, call in enumerate(stack.calls):
        stream = id(places.of_output(call.output))
        later = {id(leaf) for other in stack.calls[index + 1 :] for leaf in leaves_in(other.arguments).values()}
        yield OutputForm.of(call.arguments, call.output, later - {stream})


def _is_causal(stack: Stack, cached: CachedProbe | None) -> bool:
    """Return whether the changed token of the probe reached later tokens only.

    In a model whose attention is ablated it reaches no other token: one that returns a cache is then causal.
    """
    one, other = stack.states[-1]
    if one.isfinite().all() and other.isfinite().all():
        moved = moved_tokens(one, other)
        if moved[:CHANGED].any():
            return False
        if moved[CHANGED + 1 :].any():
            return True
    return cached is not None


def _takes_positions(module: nn.Module, found: Architecture, stack: Stack, probe: Probe) -> bool:
    """Return whether the trunk takes position ids, and runs with 0, 1, 2, … as without them."""
    trunk = module.get_submodule(found.trunk)
    if "position_ids" not in accepted(trunk) or not probe.reads_text:
        return False
    inputs = trunk_inputs(trunk, probe.inputs) | {"position_ids": positions_of(probe.main_input)}
    calls, _ = run_without_blocks(module, found, stack.states[1:], inputs)
    return all(map(means_the_same, calls, (call.arguments for call in stack.calls)))


def _head(module: Any, probe: Probe) -> str | None:
    head = module.get_output_embeddings() if hasattr(module, "get_output_embeddings") else None
    return None if head is None else next((call.name for call in probe.watch.of(head)), None)


def _stack_of(search: Search, probe: Probe, name: str, module: nn.Module) -> Stack:
    """Return the stack that runs last: what runs before it may prepare the stream."""
    streams = [stack for stack in search.stacks if stack.states[0].ndim > 2]
    if not streams:
        seen = (
            "; ".join(search.refused)
            or "no module list whose items are called (its code may call their .forward, past all hooks)"
        )
        refuse_undiscovered(
            name, f"{type(module).__name__}: {seen}", "blocks that pass one stream from each to the next"
        )
    stack = streams[-1]
    first, last = tuple(stack.states[0].shape), tuple(stack.states[-1].shape)
    tokens = (2, TOKENS)
    if len({tuple(state.shape) for state in stack.states}) > 1:
        seen = f"the states of {stack.path} shrink or grow from {first} to {last} (a hierarchical model)"
        refuse_undiscovered(name, seen, "states of one shape")
    if len(first) == 4 and tokens in (first[:2], first[1:3]):
        seen = (
            f"the blocks of {stack.path} pass on {first[2] if tokens == first[:2] else first[0]} streams side by side"
        )
        refuse_undiscovered(name, seen, "one stream")
    if len(first) != 3 or not probe.has_shape(first):
        seen = f"the states of {stack.path} have the shape {first} for {'2 x 7 tokens' if probe.reads_text else '2 images'}"
        refuse_undiscovered(name, seen, "a state for each token of each sequence")
    return stack


def refuse_undiscovered(name: str, seen: str, missing: str, cause: Exception | None = None) -> NoReturn:
    """Raise the error for a model whose blocks are not found or not proved.

    Raises
    ------
    ModelError
        Always.
    """
    raise ModelError(f"{name}: this model is refused. Seen: {seen}.\nMissing: {missing}.") from cause
