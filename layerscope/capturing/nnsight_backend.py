"""The nnsight backend: the model's own trunk, traced by nnsight.

nnsight leaves a ``forward`` and a state of its own in every module that it wraps; both are taken away again. It reads what
modules give, and the mean of a stage is given by none: under a schedule, every state passes through a gate of its own.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from nnsight import NNsight
from nnsight.intervention.source import STATE
from torch import nn

from layerscope.capturing.keeping import Kept, LastWantedReached, recording_nothing
from layerscope.capturing.protocol import BatchStates, Session, Wanted
from layerscope.execution.scheduled import scheduled
from layerscope.models.eval_mode import eval_mode
from layerscope.models.model import Model, stream_in, stream_out
from layerscope.schedules.schedule import Schedule

__all__ = ["NNsightBackend"]

_PLACED = ("forward", STATE)
_OUTPUT = r"Module '.*' has a submodule named 'output', which nnsight already serves on every module\."


class NNsightBackend:
    """Capture through ``nnsight.NNsight(trunk).trace(…)``."""

    @contextmanager
    def session(self, model: Model, wanted: Wanted) -> Iterator[Session]:
        """See `layerscope.capturing.protocol.Backend`."""
        runner = model.trunk if wanted.schedule is None else _Gated(model, wanted.schedule)
        with eval_mode(model.module), _wrapped(runner) as traced:
            trunk: Any = traced if wanted.schedule is None else traced.get("trunk")
            norm: Any = trunk.get(model.architecture.final_norm) if wanted.final_norm else None
            blocks = [trunk.get(f"{model.architecture.blocks}.{index}") for index in range(model.depth)]

            def state(layer: int) -> torch.Tensor:
                if wanted.schedule is not None:
                    return stream_out(traced.get(f"gates.{layer}").output)
                return stream_out(blocks[layer - 1].output) if layer else stream_in(*blocks[0].inputs)

            def run(
                input_ids: torch.Tensor, attention_mask: torch.Tensor, position_ids: torch.Tensor | None = None
            ) -> BatchStates:
                kept = Kept(model.name, wanted)
                inputs = model.inputs(input_ids, attention_mask, position_ids)
                # nnsight reads the body from this source and runs it beside the model: a read waits until the model is there.
                # Not tracer.stop(): its exception refers to itself, and so holds the streams until the garbage collector runs.
                with recording_nothing(), suppress(LastWantedReached), traced.trace(**inputs):
                    for layer in wanted.layers:
                        kept.keep_until_last(layer, state(layer))
                    kept.keep_until_last("final_norm", norm.output)
                return kept.states()

            yield run


class _Gated(nn.Module):
    """A model's trunk under a schedule, with a gate for each state to pass through."""

    def __init__(self, model: Model, schedule: Schedule) -> None:
        super().__init__()
        self._model, self._schedule = model, schedule
        self.trunk = model.trunk
        self.gates = nn.ModuleList(nn.Identity() for _ in range(len(schedule) + 1))

    def forward(self, **inputs: Any) -> Any:
        with scheduled(self._model, self._schedule, observe=self._pass):
            return self.trunk(**inputs)

    def _pass(self, number: int, stream: torch.Tensor) -> None:
        self.gates[number](stream)


@contextmanager
def _wrapped(runner: nn.Module) -> Iterator[NNsight]:
    before = [
        (vars(module), {name: vars(module)[name] for name in _PLACED if name in vars(module)})
        for module in runner.modules()
    ]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=_OUTPUT)  # encoders; LayerScope reads no such submodule
            wrapped = NNsight(runner)
        yield wrapped
    finally:
        for attributes, kept in before:
            for name in _PLACED:
                attributes.pop(name, None)
            attributes.update(kept)
