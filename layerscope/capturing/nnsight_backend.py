"""The nnsight backend: the model's own trunk, traced by nnsight.

nnsight leaves a ``forward`` and a state of its own in every module that it wraps; both are taken away again.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from nnsight import NNsight
from nnsight.intervention.source import STATE
from torch import nn

from layerscope.capturing.keeping import Kept, LastWantedReached, evaluating, recording_nothing
from layerscope.capturing.protocol import BatchStates, Session, Wanted
from layerscope.models.model import Model, stream_in, stream_out

__all__ = ["NNsightBackend"]

_PLACED = ("forward", STATE)
_OUTPUT = r"Module '.*' has a submodule named 'output', which nnsight already serves on every module\."


class NNsightBackend:
    """Capture through ``nnsight.NNsight(trunk).trace(…)``."""

    @contextmanager
    def session(self, model: Model, wanted: Wanted) -> Iterator[Session]:
        """See `layerscope.capturing.protocol.Backend`."""
        with evaluating(model.module), _wrapped(model.trunk) as trunk:
            blocks = [trunk.get(f"{model.architecture.blocks}.{index}") for index in range(model.depth)]
            norm: Any = trunk.get(model.architecture.final_norm) if wanted.final_norm else None

            def run(
                input_ids: torch.Tensor, attention_mask: torch.Tensor, position_ids: torch.Tensor | None = None
            ) -> BatchStates:
                kept = Kept(model.name, wanted)
                inputs = model.inputs(input_ids, attention_mask, position_ids)
                # nnsight reads the body from this source and runs it beside the model: a read waits until the model is there.
                # Not tracer.stop(): its exception refers to itself, and so holds the streams until the garbage collector runs.
                with recording_nothing(), suppress(LastWantedReached), trunk.trace(**inputs):
                    for layer in wanted.layers:
                        stream = stream_out(blocks[layer - 1].output) if layer else stream_in(*blocks[0].inputs)
                        kept.keep_until_last(layer, stream)
                    kept.keep_until_last("final_norm", norm.output)
                return kept.states()

            yield run


@contextmanager
def _wrapped(trunk: nn.Module) -> Iterator[NNsight]:
    before = [
        (vars(module), {name: vars(module)[name] for name in _PLACED if name in vars(module)})
        for module in trunk.modules()
    ]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=_OUTPUT)  # encoders; LayerScope reads no such submodule
            wrapped = NNsight(trunk)
        yield wrapped
    finally:
        for attributes, kept in before:
            for name in _PLACED:
                attributes.pop(name, None)
            attributes.update(kept)
