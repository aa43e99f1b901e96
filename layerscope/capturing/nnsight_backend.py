"""The nnsight backend: the model's own trunk, traced by nnsight.

nnsight adds a ``forward`` and its own state to every module that it wraps; the session removes both at the end. nnsight reads
the outputs of modules, and no module outputs the mean of a stage, so under a schedule each state passes through a gate.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from inspect import isdatadescriptor
from typing import Any

import torch
from nnsight import NNsight
from nnsight.intervention.envoy import Envoy
from nnsight.intervention.interleaver import OutOfOrderError
from nnsight.intervention.source import STATE
from torch import nn

from layerscope.capturing.inputs import Inputs
from layerscope.capturing.protocol import BatchStates, CaptureSpec, Receive, Session
from layerscope.capturing.recorder import AllRecorded, StateRecorder
from layerscope.errors import CaptureError
from layerscope.execution.scheduled import scheduled
from layerscope.models.eval_mode import eval_mode, no_grad
from layerscope.models.model import Model
from layerscope.models.stream_guard import guarded_stream
from layerscope.models.sublayers import Sublayer
from layerscope.schedules.schedule import Schedule

__all__ = ["NNsightBackend"]

_ADDED = ("forward", STATE)
_OUTPUT = r"Module '.*' has a submodule named 'output', which nnsight already serves on every module\."


class NNsightBackend:
    """Capture through ``nnsight.NNsight(trunk).trace(…)``."""

    @contextmanager
    def session(self, model: Model, spec: CaptureSpec, receive: Receive | None = None) -> Iterator[Session]:
        """See `layerscope.capturing.protocol.Backend`."""
        runner = model.trunk if spec.schedule is None else _Gated(model, spec.schedule)
        with eval_mode(model.module), _wrapped(runner) as traced:
            trunk: Any = traced if spec.schedule is None else traced.get("trunk")
            norm: Any = trunk.get(model.architecture.final_norm) if spec.final_norm else None
            blocks = [trunk.get(f"{model.architecture.blocks}.{index}") for index in model.architecture.items]
            places = model.stream
            guard = partial(guarded_stream, model) if spec.schedule is None else nullcontext

            sublayers = {(stream, block): getattr(spec.sublayers[block], stream) for stream, block in spec.of_blocks}
            parts = {key: blocks[key[1]].get(_path(sublayer.part.path)) for key, sublayer in sublayers.items()}

            def added(stream: str, block: int) -> torch.Tensor:
                sublayer: Sublayer = sublayers[stream, block]
                return sublayer.added(sublayer.part.of(parts[stream, block].output))

            def state(layer: int) -> torch.Tensor:
                if spec.schedule is not None:
                    gate: torch.Tensor = traced.get(f"gates.{layer}").output
                    return gate
                return places.of_output(blocks[layer - 1].output) if layer else places.of_call(*blocks[0].inputs)

            def run(inputs: Inputs) -> BatchStates:
                recorder = StateRecorder(model.name, spec, receive)
                # nnsight runs this body in parallel with the model; reading an output waits until the model has computed it.
                # tracer.stop() is not used: its exception refers to itself and keeps the states until garbage collection.
                with no_grad(), guard(), _once(model), suppress(AllRecorded), traced.trace(**inputs.arguments(model)):
                    for layer in range(
                        len(spec.schedule or blocks) + 1
                    ):  # in the order in which the model computes them
                        for stream in spec.streams if layer - 1 in spec.blocks else ():
                            recorder.record_added(stream, layer - 1, added(stream, layer - 1))
                        if layer in spec.layers:
                            recorder.record(layer, state(layer))
                    recorder.record("final_norm", norm.output)
                return recorder.states(inputs.lines)

            yield run


@contextmanager
def _once(model: Model) -> Iterator[None]:
    """Explain that nnsight reads the first call of a module: some models call their final norm before the blocks too."""
    try:
        yield
    except OutOfOrderError as error:
        raise CaptureError(
            f"{model.name}: nnsight cannot read a module that runs more than once.\nUse --backend hooks."
        ) from error


def _path(path: str) -> str:
    """Return a path by the names of nnsight, which renames modules whose names it uses itself, such as ``output``."""
    renamed = [(step, isdatadescriptor(getattr(Envoy, step, None))) for step in path.split(".")]
    return ".".join(f"{Envoy.OVERLOAD_PREFIX}{step}" if clash else step for step, clash in renamed)


class _Gated(nn.Module):
    """A model's trunk under a schedule; each state passes through an identity module, its gate."""

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
        (vars(module), {name: vars(module)[name] for name in _ADDED if name in vars(module)})
        for module in runner.modules()
    ]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=_OUTPUT)  # in encoders; LayerScope does not read that submodule
            wrapped = NNsight(runner)
        yield wrapped
    finally:
        for attributes, original in before:
            for name in _ADDED:
                attributes.pop(name, None)
            attributes.update(original)
