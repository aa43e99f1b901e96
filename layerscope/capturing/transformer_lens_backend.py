"""The TransformerLens backend: a ``TransformerBridge`` on raw weights, read at its own hook points.

Building a bridge changes the module that it wraps, so the bridge wraps a clone that shares all weights; the user's module does
not change. The bridge computes eager attention: its states equal those of the hooks backend up to rounding, and in most
families bitwise if that backend runs eager attention too. The session compares both on a few tokens first, because
TransformerLens misreads some checkpoints without an error (Falcon with ALiBi). Under a schedule the blocks of the bridge run,
and the observer of the schedule records the states between stages, which have no hook point.
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
from layerscope.capturing.inputs import Inputs, TextInputs
from layerscope.capturing.protocol import BatchStates, CaptureSpec, Receive, Session, StateKey
from layerscope.capturing.recorder import AllRecorded, StateRecorder
from layerscope.errors import CaptureError
from layerscope.execution.scheduled import scheduled
from layerscope.models.eval_mode import eval_mode, no_grad
from layerscope.models.loader_errors import silence_loaders
from layerscope.models.model import Model
from layerscope.models.stream_guard import guarded_stream

with silence_loaders(), warnings.catch_warnings():  # the import silences transformers' log and adds warning filters
    from transformer_lens.model_bridge import TransformerBridge
    from transformer_lens.model_bridge.sources import build_bridge_from_module

__all__ = ["TransformerLensBackend"]

# Half precision has two to three digits: after tens of blocks, correct states can differ by several percent.
_TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-3, torch.bfloat16: 0.25, torch.float16: 0.25}


class TransformerLensBackend:
    """Capture through the hook points of a ``TransformerBridge``."""

    @contextmanager
    def session(self, model: Model, spec: CaptureSpec, receive: Receive | None = None) -> Iterator[Session]:
        """See `layerscope.capturing.protocol.Backend`.

        Raises
        ------
        CaptureError
            TransformerLens does not support the checkpoint, or computes different states.
        """
        if not model.reads_text:
            raise _refusal(model, "reads texts, and this model reads images")
        every = CaptureSpec(
            tuple(range(model.depth + 1)),
            spec.final_norm,
            blocks=tuple(range(model.depth)) if spec.streams else (),
            streams=spec.streams,
            sublayers=spec.sublayers,
        )
        clone, bridge = _verified_bridge(model, every)
        with _open_session(clone, bridge, spec, receive) as run:
            yield run


def _verified_bridge(model: Model, every: CaptureSpec) -> tuple[Model, TransformerBridge]:
    clone = replace(model, module=_eager_clone(model.module))
    with HooksBackend().session(clone, every) as run:
        expected = run(TextInputs(*_sample(model)))
    bridge = _bridge(clone)
    # The clone now contains the parts of the bridge: its trunk is the bridge without the head.
    clone = replace(clone)
    with _open_session(clone, bridge, every) as run:
        _require_equal(model, expected, _tried(model, run))
    return clone, bridge


def _tried(model: Model, run: Session) -> BatchStates:
    try:
        return run(TextInputs(*_sample(model)))
    except Exception as error:  # parts of a bridge raise many classes of error when they run
        reason = " ".join(str(error).split())
        raise _refusal(model, f"cannot run this checkpoint ({type(error).__name__}: {reason[:160]})") from error


@contextmanager
def _open_session(
    clone: Model, bridge: TransformerBridge, spec: CaptureSpec, receive: Receive | None = None
) -> Iterator[Session]:
    recorder = StateRecorder(clone.name, spec, receive)

    def run(inputs: Inputs) -> BatchStates:
        recorder.clear()
        with ExitStack() as stack:
            stack.enter_context(no_grad())
            if spec.schedule is not None:
                stack.enter_context(scheduled(clone, spec.schedule, observe=recorder.observe))
            else:
                stack.enter_context(guarded_stream(clone))
            stack.enter_context(suppress(AllRecorded))
            clone.trunk(**inputs.arguments(clone))
        return recorder.states(inputs.lines)

    points = _hook_points(bridge, clone, spec)
    hooks = [(name, partial(_record, recorder, key)) for name, key in points]
    with eval_mode(clone.module), bridge.hooks(fwd_hooks=hooks):
        yield run


def _record(recorder: StateRecorder, key: StateKey, stream: torch.Tensor, hook: Any) -> None:
    # A copy of what a sub-layer adds: some blocks add to the tensor in place.
    recorder.record(key, stream.clone() if isinstance(key, tuple) else stream)


def _hook_points(bridge: TransformerBridge, clone: Model, spec: CaptureSpec) -> list[tuple[str, StateKey]]:
    points: list[tuple[str, StateKey]] = [
        (f"blocks.{layer - 1}.hook_out" if layer else "blocks.0.hook_in", layer)
        for layer in (spec.layers if spec.schedule is None else ())
    ]
    points += [(f"blocks.{block}.hook_{stream}_out", (stream, block)) for stream, block in spec.of_blocks]
    if spec.final_norm:
        points.append(("ln_final.hook_out", "final_norm"))
    for name, _ in points:
        if name not in bridge.hook_dict:
            raise _refusal(clone, f"has no {name} for this checkpoint")
    return points


def _eager_clone(module: nn.Module) -> nn.Module:
    """Return a copy of the module tree that shares all parameters and buffers and runs eager attention.

    TransformerLens requires eager attention, with an explicit mask.
    """
    shared = {id(tensor): tensor for tensors in (module.parameters(), module.buffers()) for tensor in tensors}
    clone: Any = copy.deepcopy(module, shared).eval()
    with silence_loaders():  # Falcon warns that it cannot switch; its bridge does not need it
        clone.set_attn_implementation("eager")
    eager: nn.Module = clone
    return eager


def _bridge(clone: Model) -> TransformerBridge:
    module = clone.module
    try:
        with torch.random.fork_rng(devices=[]):  # some adapters initialize random layers before they load the weights
            return build_bridge_from_module(module, type(module).__name__, hf_config=copy.deepcopy(module.config))
    except Exception as error:  # the adapters raise many classes of error
        reason = " ".join(str(error).split())
        raise _refusal(clone, f"does not support this checkpoint ({type(error).__name__}: {reason[:160]})") from error


def _sample(model: Model) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two short sequences and their mask; the second one is padded."""
    ids = model.trial_ids(2, 7)
    mask = torch.ones_like(ids)
    mask[1, -2:] = 0
    return torch.where(mask == 1, ids, model.pad_id), mask


def _require_equal(model: Model, expected: BatchStates, got: BatchStates) -> None:
    real = _sample(model)[1].to(model.device) == 1
    for (name, one), (_, other) in zip(_named(expected), _named(got), strict=True):
        one, other = one[real].double(), other[real].double()
        off = float((other - one).norm() / one.norm())
        # The model itself computes NaN or Inf: the capture stops later, at the text that causes them.
        if one.isfinite().all() and not off <= _TOLERANCE[model.dtype]:
            raise _refusal(model, f"computes {name} differently from the model (relative difference {off:.1e})")


def _named(states: BatchStates) -> Iterator[tuple[str, torch.Tensor]]:
    for name, streams in (
        ("state {}", states.hidden),
        ("attention of block {}", states.attn),
        ("MLP of block {}", states.mlp),
    ):
        yield from ((name.format(number), stream) for number, stream in enumerate(streams))
    if states.final_norm is not None:
        yield "the final norm", states.final_norm


def _refusal(model: Model, why: str) -> CaptureError:
    return CaptureError(f"{model.name}: TransformerLens {why}.\nUse --backend hooks.")
