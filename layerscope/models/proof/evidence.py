"""What the proof reads: a model as found, its recorded passes, and the refusal."""

from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn

import torch

from layerscope.errors import ModelError
from layerscope.models.discovery.cached import CachedProbe
from layerscope.models.discovery.discover import refuse_undiscovered
from layerscope.models.discovery.ends import relative_path
from layerscope.models.discovery.places import Call
from layerscope.models.discovery.probe import CHANGED, Probe, first_tensor, trunk_inputs
from layerscope.models.discovery.stacks import Stack
from layerscope.models.discovery.taps import run_without_blocks
from layerscope.models.discovery.watch import ModuleCall
from layerscope.models.model import Model
from layerscope.models.module_check import quantised_part

__all__ = ["Evidence", "Replaced"]


@dataclass(frozen=True)
class Replaced:
    """What the blocks seemed to return, what each of them was then called with, and what the trunk returned."""

    given: list[torch.Tensor]
    calls: list[Call]
    output: torch.Tensor


@dataclass(frozen=True)
class Evidence:
    """A model as found, and its recorded passes.

    Attributes
    ----------
    model
        The model, with the architecture to be proved.
    probe, cached
        The recorded pass over all tokens, and the one with a cache if the model has one.
    """

    model: Model
    probe: Probe
    cached: CachedProbe | None

    @cached_property
    def calls(self) -> list[ModuleCall]:
        """The calls of the blocks, in the order in which they began."""
        blocks = {id(block) for block in self.model.blocks}
        return [call for call in self.probe.watch.calls if id(call.module) in blocks]

    @cached_property
    def stack(self) -> Stack:
        """The blocks as found, with their calls."""
        found = self.model.architecture
        return Stack(found.blocks, found.items, tuple(self.calls), found.stream)

    @cached_property
    def states(self) -> list[torch.Tensor]:
        """The stream that enters the first block and the streams that leave each block."""
        return self.stack.states

    @cached_property
    def replaced(self) -> "Replaced":
        """A pass of the trunk alone in which the output of every block is replaced, and no block runs."""
        model = self.model
        given = [_other_state(state) for state in self.states[1:]]
        inputs = trunk_inputs(model.trunk, self.probe.inputs)
        calls, output = run_without_blocks(model.module, model.architecture, given, inputs)
        return Replaced(given, calls, output)

    @property
    def trunk_output(self) -> torch.Tensor:
        """The first tensor that the trunk returned."""
        return first_tensor(self.probe.watch.of(self.model.trunk)[0].output)

    def path(self, call: ModuleCall) -> str:
        """Return the path of the module of a call, relative to the trunk."""
        return relative_path(call.name, self.model.architecture.trunk)

    def fail(self, missing: str, cause: Exception | None = None) -> NoReturn:
        """Refuse the model.

        Raises
        ------
        ModelError
            Always: in two lines, the findings and the missing fact.
        """
        model, architecture = self.model, self.model.architecture
        if quantised := quantised_part(model.module):
            raise ModelError(
                f"{model.name}: the weights are quantised ({quantised}), and the proof of the blocks fails: {missing}.\n"
                "Give the plain model, not quantised."
            ) from cause
        end = f"then {architecture.final_norm}" if architecture.final_norm else "no norm after them"
        where = ".".join(filter(None, (architecture.trunk, architecture.blocks)))
        seen = f"{model.depth} blocks of a {architecture.family} model in {where or 'the model'}, {end}"
        refuse_undiscovered(model.name, seen, missing, cause)


def _other_state(state: torch.Tensor) -> torch.Tensor:
    """Return another state: the same for both sequences of a probe, but for one token."""
    ramp = torch.linspace(-1, 1, state.shape[-1], dtype=state.dtype, device=state.device)
    other = (state[:1].flip(-1) + ramp).repeat(2, *[1] * (state.ndim - 1))
    other[1, CHANGED] = ramp.flip(-1) * 2
    return other
