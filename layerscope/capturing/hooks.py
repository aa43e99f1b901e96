"""The reference backend: plain PyTorch forward hooks on named blocks; under a schedule, its own observer.

The hooks stand only while a batch runs, so between batches, and for sessions nested on the same model, the model is bare.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from layerscope.capturing.keeping import Kept, LastWantedReached, Place, recording_nothing
from layerscope.capturing.protocol import BatchStates, Session, Wanted
from layerscope.execution.scheduled import scheduled
from layerscope.models.eval_mode import eval_mode
from layerscope.models.model import Model, stream_in, stream_out

__all__ = ["HooksBackend"]


class HooksBackend:
    """Capture through ``register_forward_hook``."""

    @contextmanager
    def session(self, model: Model, wanted: Wanted) -> Iterator[Session]:
        """See `layerscope.capturing.protocol.Backend`."""

        def run(
            input_ids: torch.Tensor, attention_mask: torch.Tensor, position_ids: torch.Tensor | None = None
        ) -> BatchStates:
            kept = Kept(model.name, wanted)
            with recording_nothing(), _hooks(model, wanted, kept), suppress(LastWantedReached):
                model.trunk(**model.inputs(input_ids, attention_mask, position_ids))
            return kept.states()

        with eval_mode(model.module):
            yield run


@contextmanager
def _hooks(model: Model, wanted: Wanted, kept: Kept) -> Iterator[None]:
    with ExitStack() as placed:
        if wanted.schedule is None:
            for layer in wanted.layers:
                placed.enter_context(_hook(model, layer, kept))
        else:
            placed.enter_context(scheduled(model, wanted.schedule, observe=kept.observe))
        if wanted.final_norm:
            assert model.final_norm is not None  # the driver refuses --final-norm for models without one
            placed.enter_context(model.final_norm.register_forward_hook(partial(_keep_output, kept, "final_norm")))
        yield


def _hook(model: Model, layer: int, kept: Kept) -> RemovableHandle:
    if layer == 0:
        return model.blocks[0].register_forward_pre_hook(partial(_keep_input, kept), with_kwargs=True)
    return model.blocks[layer - 1].register_forward_hook(partial(_keep_output, kept, layer))


def _keep_input(kept: Kept, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    kept.keep_until_last(0, stream_in(args, kwargs))


def _keep_output(kept: Kept, place: Place, _: nn.Module, __: tuple[Any, ...], output: Any) -> None:
    kept.keep_until_last(place, stream_out(output))
