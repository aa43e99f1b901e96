"""The TransformerLens backend: a ``TransformerBridge`` on raw weights, read at its own hook points.

Building a bridge rearranges the module it is given, so it gets a clone that shares every weight; the user's module is never
touched. The bridge computes attention itself, in the eager formulation: its states equal the hooks backend's up to rounding,
and bit for bit in most families where that one runs eager attention too. This is proved on a few tokens before anything is
captured, because TransformerLens silently misreads some checkpoints (Falcon with ALiBi). Under a schedule the bridge's own
blocks run, and the executor shows the stream between the stages, for which there are no hook points.
"""

import copy
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from layerscope.capturing.hooks import HooksBackend
from layerscope.capturing.keeping import Kept, LastWantedReached, Place, recording_nothing
from layerscope.capturing.protocol import BatchStates, Session, Wanted
from layerscope.errors import CaptureError
from layerscope.execution.scheduled import scheduled
from layerscope.models.eval_mode import eval_mode
from layerscope.models.loader_errors import silence_loaders
from layerscope.models.model import Model

with silence_loaders(), warnings.catch_warnings():  # the import silences transformers' log and adds warning filters
    from transformer_lens.model_bridge import TransformerBridge
    from transformer_lens.model_bridge.sources import build_bridge_from_module

__all__ = ["TransformerLensBackend"]

# Half precision leaves two to three digits a block: tens of blocks may differ by several percent and yet compute the same.
_TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-3, torch.bfloat16: 0.25, torch.float16: 0.25}


class TransformerLensBackend:
    """Capture through the hook points of a ``TransformerBridge``."""

    @contextmanager
    def session(self, model: Model, wanted: Wanted) -> Iterator[Session]:
        """See `layerscope.capturing.protocol.Backend`.

        Raises
        ------
        CaptureError
            When TransformerLens does not take the checkpoint, or computes other states from it.
        """
        clone, bridge = _proved_bridge(model, Wanted(tuple(range(model.depth + 1)), wanted.final_norm))
        with _reading(clone, bridge, wanted) as run:
            yield run


def _proved_bridge(model: Model, every: Wanted) -> tuple[Model, TransformerBridge]:
    clone = replace(model, module=_eager_clone(model.module))
    with HooksBackend().session(clone, every) as run:
        expected = run(*_sample(model), None)
    bridge = _bridge(clone)
    # The bridge's parts now stand in the clone where the model's own stood: its trunk is the bridge without the head.
    clone = replace(clone)
    with _reading(clone, bridge, every) as run:
        _agree(model, expected, run(*_sample(model), None))
    return clone, bridge


@contextmanager
def _reading(clone: Model, bridge: TransformerBridge, wanted: Wanted) -> Iterator[Session]:
    kept = Kept(clone.name, wanted)

    def run(
        input_ids: torch.Tensor, attention_mask: torch.Tensor, position_ids: torch.Tensor | None = None
    ) -> BatchStates:
        kept.clear()
        with ExitStack() as placed:
            placed.enter_context(recording_nothing())
            if wanted.schedule is not None:
                placed.enter_context(scheduled(clone, wanted.schedule, observe=kept.observe))
            placed.enter_context(suppress(LastWantedReached))
            clone.trunk(**clone.inputs(input_ids, attention_mask, position_ids))
        return kept.states()

    points = _hook_points(bridge, clone, wanted)
    hooks = [(name, partial(_keep, kept, place)) for name, place in points]
    with eval_mode(clone.module), bridge.hooks(fwd_hooks=hooks):
        yield run


def _keep(kept: Kept, place: Place, stream: torch.Tensor, hook: Any) -> None:
    kept.keep_until_last(place, stream)


def _hook_points(bridge: TransformerBridge, clone: Model, wanted: Wanted) -> list[tuple[str, Place]]:
    points: list[tuple[str, Place]] = [
        (f"blocks.{layer - 1}.hook_out" if layer else "blocks.0.hook_in", layer)
        for layer in (wanted.layers if wanted.schedule is None else ())
    ]
    if wanted.final_norm:
        points.append(("ln_final.hook_out", "final_norm"))
    for name, _ in points:
        if name not in bridge.hook_dict:
            raise _refused(clone, f"has no {name} for this checkpoint")
    return points


def _eager_clone(module: nn.Module) -> nn.Module:
    """Copy the tree of modules, sharing every parameter and buffer, and let the copy run eager attention.

    Eager is what TransformerLens asks for everywhere: its attention wants the mask written out.
    """
    shared = {id(tensor): tensor for tensors in (module.parameters(), module.buffers()) for tensor in tensors}
    clone: Any = copy.deepcopy(module, shared).eval()
    with silence_loaders():  # Falcon says that it cannot switch; its bridge does without
        clone.set_attn_implementation("eager")
    eager: nn.Module = clone
    return eager


def _bridge(clone: Model) -> TransformerBridge:
    module = clone.module
    try:
        with torch.random.fork_rng(devices=[]):  # some adapters make random layers first and fill them afterwards
            return build_bridge_from_module(module, type(module).__name__, hf_config=copy.deepcopy(module.config))
    except Exception as error:  # the adapters of a hundred families share no class of error
        said = " ".join(str(error).split())
        raise _refused(clone, f"does not take this checkpoint ({type(error).__name__}: {said[:160]})") from error


def _sample(model: Model) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a few tokens and their mask, the second sequence padded."""
    ids = torch.arange(5, 19).remainder(model.config.vocab_size).reshape(2, 7)
    mask = torch.ones_like(ids)
    mask[1, -2:] = 0
    return torch.where(mask == 1, ids, model.pad_id), mask


def _agree(model: Model, expected: BatchStates, got: BatchStates) -> None:
    real = _sample(model)[1].to(model.device) == 1
    names = [f"state {layer}" for layer in range(model.depth + 1)] + ["the final norm"]
    for name, one, other in zip(names, _streams(expected), _streams(got), strict=False):
        one, other = one[real].double(), other[real].double()
        off = float((other - one).norm() / one.norm())
        # Not finite is no reason to refuse: it is the model's own doing, and stops the capture at the text that shows it.
        if one.isfinite().all() and not off <= _TOLERANCE[model.dtype]:
            raise _refused(model, f"computes {name} otherwise than the model does (relative difference {off:.1e})")


def _streams(states: BatchStates) -> list[torch.Tensor]:
    return states.hidden if states.final_norm is None else [*states.hidden, states.final_norm]


def _refused(model: Model, why: str) -> CaptureError:
    return CaptureError(f"{model.name}: TransformerLens {why}.\nUse --backend hooks.")
