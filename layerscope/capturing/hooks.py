"""The reference backend: plain PyTorch forward hooks on named blocks.

The hooks only keep references, so a capture computes exactly what the model computes. A block that would write into the
stream in place would change a state after the fact; the version counter of each tensor shows it, and it is refused.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from layerscope.capturing.protocol import BatchStates, Session, Wanted
from layerscope.errors import CaptureError
from layerscope.models.model import Model, stream_in, stream_out

__all__ = ["HooksBackend"]


class _LastWantedReached(Exception):  # noqa: N818  (a signal, not an error)
    """Raised by the last hook to skip the blocks nobody asked for."""


class HooksBackend:
    """Capture through ``register_forward_hook``."""

    @contextmanager
    def session(self, model: Model, wanted: Wanted) -> Iterator[Session]:
        """See `layerscope.capturing.protocol.Backend`."""
        seen: dict[int | str, tuple[torch.Tensor, int]] = {}
        handles = _place_hooks(model, wanted, seen)

        def run(
            input_ids: torch.Tensor, attention_mask: torch.Tensor, position_ids: torch.Tensor | None = None
        ) -> BatchStates:
            seen.clear()
            try:
                with torch.no_grad():
                    model.trunk(**model.inputs(input_ids, attention_mask, position_ids))
            except _LastWantedReached:
                pass
            states = [_untouched(model, *seen[layer]) for layer in wanted.layers]
            normed = seen["final_norm"][0] if wanted.final_norm else None
            seen.clear()
            return BatchStates(states, normed)

        try:
            yield run
        finally:
            for handle in handles:
                handle.remove()
            seen.clear()


def _place_hooks(
    model: Model, wanted: Wanted, seen: dict[int | str, tuple[torch.Tensor, int]]
) -> list[torch.utils.hooks.RemovableHandle]:
    def keep(place: int | str, stream: torch.Tensor, last: bool) -> None:
        seen[place] = (stream, stream._version)
        if last:
            raise _LastWantedReached

    def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        keep(0, stream_in(args, kwargs), last=wanted.layers == (0,) and not wanted.final_norm)

    handles = []
    if 0 in wanted.layers:
        handles.append(model.blocks[0].register_forward_pre_hook(before, with_kwargs=True))
    for layer in wanted.layers:
        if layer > 0:
            last = layer == wanted.layers[-1] and not wanted.final_norm

            def after(_: nn.Module, __: tuple[Any, ...], output: Any, layer: int = layer, last: bool = last) -> None:
                keep(layer, stream_out(output), last)

            handles.append(model.blocks[layer - 1].register_forward_hook(after))
    if wanted.final_norm:
        assert model.final_norm is not None  # the driver refuses --final-norm for models without one

        def normed(_: nn.Module, __: tuple[Any, ...], output: torch.Tensor) -> None:
            keep("final_norm", output, last=True)

        handles.append(model.final_norm.register_forward_hook(normed))
    return handles


def _untouched(model: Model, stream: torch.Tensor, version: int) -> torch.Tensor:
    if stream._version != version:
        raise CaptureError(
            f"{model.name}: a block writes into the residual stream in place, so its states cannot be kept by reference.\n"
            "Report this model: its row of the architecture table needs a copy."
        )
    return stream
