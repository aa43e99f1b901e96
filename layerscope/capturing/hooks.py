"""The reference backend: forward hooks on the blocks; under a schedule, the observer of the schedule.

Hooks are on the model only while a batch runs, so sessions on one model can be nested.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from layerscope.capturing.inputs import Inputs
from layerscope.capturing.protocol import BatchStates, CaptureSpec, Receive, Session
from layerscope.capturing.recorder import AllRecorded, StateRecorder
from layerscope.execution.scheduled import scheduled
from layerscope.models.discovery.streams import StreamPlaces
from layerscope.models.eval_mode import eval_mode, no_grad
from layerscope.models.model import Model
from layerscope.models.stream_guard import guarded_stream
from layerscope.models.sublayers import Sublayer

__all__ = ["HooksBackend"]


class HooksBackend:
    """Capture through ``register_forward_hook``."""

    @contextmanager
    def session(self, model: Model, spec: CaptureSpec, receive: Receive | None = None) -> Iterator[Session]:
        """See `layerscope.capturing.protocol.Backend`."""

        def run(inputs: Inputs) -> BatchStates:
            recorder = StateRecorder(model.name, spec, receive)
            with no_grad(), _hooks(model, spec, recorder), suppress(AllRecorded):
                model.trunk(**inputs.arguments(model))
            return recorder.states(inputs.lines)

        with eval_mode(model.module):
            yield run


@contextmanager
def _hooks(model: Model, spec: CaptureSpec, recorder: StateRecorder) -> Iterator[None]:
    ended: list[bool] = []  # filled when the blocks have run: some models call their final norm before them too

    def observe(number: int, stream: torch.Tensor) -> None:
        recorder.observe(number, stream)
        if spec.schedule is not None and number == len(spec.schedule):
            ended.append(True)

    with ExitStack() as stack:
        if spec.schedule is None:
            stack.enter_context(guarded_stream(model))
            stack.enter_context(model.blocks[-1].register_forward_hook(lambda *_: ended.append(True)))
            for layer in spec.layers:
                stack.enter_context(_hook(model, layer, recorder))
        else:
            stack.enter_context(scheduled(model, spec.schedule, observe=observe))
        for block in spec.blocks if spec.schedule is None else range(model.depth):
            for stream in spec.streams:
                sublayer: Sublayer = getattr(spec.sublayers[block], stream)
                hook = partial(_record_added, recorder, stream, block, sublayer)
                part = model.blocks[block].get_submodule(sublayer.part.path)
                stack.enter_context(part.register_forward_hook(hook))
        if spec.final_norm:
            assert model.final_norm is not None  # `request.prepare` refuses final_norm for models without one
            stack.enter_context(model.final_norm.register_forward_hook(partial(_record_norm, recorder, ended)))
        yield


def _hook(model: Model, layer: int, recorder: StateRecorder) -> RemovableHandle:
    if layer == 0:
        return model.blocks[0].register_forward_pre_hook(
            partial(_record_input, recorder, model.stream), with_kwargs=True
        )
    return model.blocks[layer - 1].register_forward_hook(partial(_record_state, recorder, layer, model.stream))


def _record_input(
    recorder: StateRecorder, places: StreamPlaces, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    recorder.record(0, places.of_call(args, kwargs))


def _record_state(
    recorder: StateRecorder, layer: int, places: StreamPlaces, _: nn.Module, __: tuple[Any, ...], output: Any
) -> None:
    recorder.record(layer, places.of_output(output))


def _record_norm(recorder: StateRecorder, ended: list[bool], _: nn.Module, __: tuple[Any, ...], output: Any) -> None:
    if ended:
        recorder.record("final_norm", output)


def _record_added(
    recorder: StateRecorder,
    stream: str,
    block: int,
    sublayer: Sublayer,
    _: nn.Module,
    __: tuple[Any, ...],
    output: Any,
) -> None:
    recorder.record_added(stream, block, sublayer.added(sublayer.part.of(output)))
