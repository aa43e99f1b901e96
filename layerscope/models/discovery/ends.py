"""Find what surrounds a stack of blocks: the trunk that runs it, the final norm, and the table of positions."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from layerscope.models.discovery.places import same_bits
from layerscope.models.discovery.probe import Probe, first_tensor
from layerscope.models.discovery.stacks import Stack
from layerscope.models.discovery.watch import ModuleCall

__all__ = ["Positions", "final_norm", "find_positions", "find_tail", "find_trunk", "relative_path"]

_MOST_OFFSET = 16  # rows before that of the first position


def find_trunk(probe: Probe, stack: Stack) -> ModuleCall:
    """Return the call of the trunk: the innermost one that was given the inputs themselves and ran all blocks."""
    around = [call for call in probe.watch.calls if call.began < stack.began and stack.ended < call.ended]
    return next((call for call in reversed(around) if call.reads(probe.main_input)), probe.root)


def find_tail(probe: Probe, stack: Stack, trunk: ModuleCall) -> list[ModuleCall]:
    """Return what the trunk runs after the last block, one module after the other: a final norm, a projection, or nothing."""
    tail: list[ModuleCall] = []
    tensor, returned, after = stack.states[-1], first_tensor(trunk.output), stack.ended
    while tensor is not returned:
        later = [call for call in probe.watch.inside(trunk) if call.began > after and _transforms(call, tensor)]
        # A head reads a slice of the tensor, which is another object of the same values.
        readers = [call for call in later if call.reads(tensor)] or [c for c in later if _reads_equal(c, tensor)]
        if not readers:
            break
        tail.append(readers[0])
        tensor, after = readers[0].output, readers[0].ended
    return tail


def _transforms(call: ModuleCall, tensor: torch.Tensor) -> bool:
    """Whether a module makes a new tensor of the same tokens; dropout returns the very tensor, and a pooler one token."""
    made = call.output
    return isinstance(made, torch.Tensor) and made is not tensor and made.shape[:-1] == tensor.shape[:-1]


def _reads_equal(call: ModuleCall, tensor: torch.Tensor) -> bool:
    return any(same_bits(given, tensor) for given in call.given.values())


def final_norm(tail: list[ModuleCall], stack: Stack) -> ModuleCall | None:
    """Return the first of the modules after the last block that gives states."""
    return next((call for call in tail if call.output.shape == stack.states[-1].shape), None)


@dataclass(frozen=True)
class Positions:
    """A table of learned positions: its path in the trunk, and the row of the first token."""

    path: str
    first: int


def find_positions(probe: Probe, stack: Stack, trunk: ModuleCall) -> Positions | None:
    """Return the table before the blocks whose consecutive rows the tokens get; None without one."""
    tokens = probe.main_input.shape[1]
    for call in probe.watch.inside(trunk):
        if call.began < stack.began and isinstance(call.module, nn.Embedding) and not call.reads(probe.main_input):
            first = _first_row(call, tokens)
            if first is not None:
                return Positions(relative_path(call.name, trunk.name), first)
    return None


def _first_row(call: ModuleCall, tokens: int) -> int | None:
    """Return the first of the consecutive rows that an embedding gave to the tokens of the first sequence."""
    table: Any = call.module.weight
    index = _first_index(call, tokens)
    if not isinstance(call.output, torch.Tensor):
        return index
    given = call.output.reshape(-1, call.output.shape[-1])[:tokens]
    if len(given) < tokens or len(table) < tokens or table.is_meta:
        return index
    # Some modules add an offset to the positions that they are given, so the rows themselves decide.
    low, high = (0, len(table)) if index is None else (index, index + _MOST_OFFSET)
    starts = (table[low : min(high, len(table) - tokens + 1)] == given[0]).all(dim=-1).nonzero().flatten() + low
    return next((start for start in starts.tolist() if torch.equal(table[start : start + tokens], given)), index)


def _first_index(call: ModuleCall, tokens: int) -> int | None:
    """Return the first index if the module gave consecutive rows."""
    for given in call.given.values():
        line = given.reshape(-1)[:tokens]
        if not given.is_floating_point() and len(line) == tokens and (line.diff() == 1).all():
            return int(line[0])
    return None


def relative_path(path: str, trunk: str) -> str:
    """Return a path in the model as one in its trunk."""
    return path.removeprefix(f"{trunk}.") if trunk else path
