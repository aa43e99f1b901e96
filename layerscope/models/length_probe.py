"""Measure at load how the states of a text depend on the other texts of its batch.

The model runs a few short texts, each together with a copy of itself and with a longer text. The shapes are equal, so the rotary
angles and the mask of the text must be equal bit for bit. If they are not, a bisection finds the lengths at which they change. A
long text costs no more than a short one: two tokens get the positions 0 and length - 1.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn

from layerscope.errors import ModelError
from layerscope.models.discovery.taps import run_without_blocks
from layerscope.models.eval_mode import eval_mode
from layerscope.models.length_dependence import INDEPENDENT, LengthDependence
from layerscope.models.model import Model

__all__ = ["measure_length_dependence"]

_SHORT, _LONG = 7, 16  # tokens of the padded texts that run in one batch
_MOST_BORDERS = 8
# Equal shapes round alike, but not in kernels that sort tokens by expert.
_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.1}

_Arguments = list[torch.Tensor]
"""The arguments of all blocks for the first text of a batch."""


def measure_length_dependence(model: Model) -> LengthDependence:
    """Measure which lengths may share a batch.

    Raises
    ------
    ModelError
        What the blocks are given for a text depends on the texts that ran before it.
    """
    if not model.reads_text:  # images are of one size
        return INDEPENDENT
    with eval_mode(model.module), torch.no_grad():
        first = _spread(model, 2, 2)
        borders, grows_after = _borders(model)
        uniform = not borders and grows_after is None
        alone = _depends_on_neighbour(model, far=uniform)
        again = _spread(model, 2, 2)
    if _differ(first, again):
        raise ModelError(
            f"{model.name}: the states of a text depend on the texts that ran before it, so no result can be repeated.\n"
            "A part of the model keeps a state between forward passes: load it without that part."
        )
    return LengthDependence(borders, grows_after, alone)


def _borders(model: Model) -> tuple[tuple[int, ...], int | None]:
    """Find the lengths at which the computation of a text changes."""
    top = model.context
    if top is None or not model.architecture.position_ids:
        return (), None
    borders: list[int] = []
    length = 2
    while length < top:
        alone = _spread(model, length, length)
        if not _differ(alone, _spread(model, length, top)):
            return tuple(borders), None
        border = _last_like(model, length, top, alone)
        # From here on every length is computed differently.
        if (borders and border == length) or len(borders) == _MOST_BORDERS:
            return tuple(borders), length - 1
        borders.append(border)
        length = border + 1
    return tuple(borders), None


def _last_like(model: Model, length: int, top: int, alone: _Arguments) -> int:
    """Return the greatest length of a neighbour that does not change a text of `length` tokens."""
    like, unlike = length, top
    while unlike - like > 1:
        middle = (like + unlike) // 2
        if _differ(alone, _spread(model, length, middle)):
            unlike = middle
        else:
            like = middle
    return like


def _spread(model: Model, length: int, neighbour: int) -> _Arguments:
    """Return the arguments of the blocks, which do not run, for two tokens at the ends of a text of `length`.

    The batch contains two tokens at the ends of another text.
    """
    ids = model.trial_ids(1, 2).expand(2, 2)
    inputs = model.inputs(ids, torch.ones_like(ids), torch.tensor([[0, length - 1], [0, neighbour - 1]]))
    calls, _ = run_without_blocks(model.module, model.architecture, None, inputs)
    others = (_tensors(model.stream.in_call(*call, None)) for call in calls)
    return [tensor[0] for tensors in others for tensor in tensors if tensor.ndim and len(tensor) == len(ids)]


def _depends_on_neighbour(model: Model, *, far: bool) -> bool:
    """Run a short padded text with its copy and with a longer text, and compare; `far`: one that ends at the last position."""
    long = min(_LONG, model.context or _LONG)
    short = min(_SHORT, long)
    ids = model.trial_ids(2, long)
    mask = torch.ones_like(ids)
    mask[0, short:] = 0
    ids = torch.where(mask == 1, ids, model.pad_id)
    positions = torch.arange(long).repeat(2, 1)
    if far and model.context is not None:
        positions[1, -1] = model.context - 1
    copy = _last_state(model, ids[[0, 0]], mask[[0, 0]], positions[[0, 0]])
    return _moved(model, copy[:short], _last_state(model, ids, mask, positions)[:short])


def _last_state(model: Model, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Return the last state of the first text."""
    states: list[torch.Tensor] = []

    def note(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        states.append(model.stream.of_output(output))

    with ExitStack() as stack:
        stack.callback(model.blocks[-1].register_forward_hook(note).remove)
        model.trunk(**model.inputs(ids, mask, positions))
    return states[0][0]


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)


def _differ(one: _Arguments, other: _Arguments) -> bool:
    """Return whether the blocks got other arguments for the same text."""
    return len(one) != len(other) or not all(map(torch.equal, one, other))


def _moved(model: Model, one: torch.Tensor, other: torch.Tensor) -> bool:
    """Return whether the last states of the same text differ by more than rounding."""
    here, there = one.double(), other.double()
    # States that are not finite are ignored here; a capture reports where they begin.
    return bool(here.isfinite().all()) and not float((there - here).norm() / here.norm()) <= _TOLERANCE[model.dtype]
