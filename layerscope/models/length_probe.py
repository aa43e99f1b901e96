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
from layerscope.models.eval_mode import eval_mode
from layerscope.models.length_dependence import LengthDependence
from layerscope.models.model import Model

__all__ = ["measure_length_dependence"]

_SHORT, _LONG = 7, 16  # tokens of the padded texts that run in one batch
_MOST_BORDERS = 8
# Equal shapes round alike, but not in kernels that sort tokens by expert.
_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.1}

_Seen = tuple[list[torch.Tensor], torch.Tensor]
"""The arguments of all blocks for the first text, and the last state of that text."""


def measure_length_dependence(model: Model) -> LengthDependence:
    """Measure which lengths may share a batch.

    Raises
    ------
    ModelError
        The states of a text depend on the texts that ran before it.
    """
    with eval_mode(model.module), torch.no_grad():
        first = _spread(model, 2, 2)
        borders, grows_after, alone = _borders(model)
        alone = alone or _depends_on_neighbour(model)
        again = _spread(model, 2, 2)
    if _differ(first, again) or _moved(model, first, again):
        raise ModelError(
            f"{model.name}: the states of a text depend on the texts that ran before it, so no result can be repeated.\n"
            "A part of the model keeps a state between forward passes: load it without that part."
        )
    return LengthDependence(borders, grows_after, alone)


def _borders(model: Model) -> tuple[tuple[int, ...], int | None, bool]:
    """Find the lengths at which the computation of a text changes."""
    top = model.context
    if top is None or not model.architecture.position_ids:
        return (), None, False
    borders: list[int] = []
    length = 2
    while length < top:
        alone, beside = _spread(model, length, length), _spread(model, length, top)
        if not _differ(alone, beside):
            return tuple(borders), None, _moved(model, alone, beside)
        border = _last_like(model, length, top, alone)
        # From here on every length is computed differently.
        if (borders and border == length) or len(borders) == _MOST_BORDERS:
            return tuple(borders), length - 1, False
        borders.append(border)
        length = border + 1
    return tuple(borders), None, False


def _last_like(model: Model, length: int, top: int, alone: _Seen) -> int:
    """Return the greatest length of a neighbour that does not change a text of `length` tokens."""
    like, unlike = length, top
    while unlike - like > 1:
        middle = (like + unlike) // 2
        if _differ(alone, _spread(model, length, middle)):
            unlike = middle
        else:
            like = middle
    return like


def _spread(model: Model, length: int, neighbour: int) -> _Seen:
    """Run two tokens at the ends of a text of `length`, in a batch with two tokens at the ends of another text."""
    ids = torch.arange(5, 7).remainder(model.vocabulary_size).expand(2, 2)
    positions = torch.tensor([[0, length - 1], [0, neighbour - 1]])
    return _run(model, ids, torch.ones_like(ids), positions)


def _depends_on_neighbour(model: Model) -> bool:
    """Run a short padded text with its copy and with a longer text, and compare."""
    long = min(_LONG, model.context or _LONG)
    short = min(_SHORT, long)
    ids = torch.arange(5, 5 + 2 * long).remainder(model.vocabulary_size).reshape(2, long)
    mask = torch.ones_like(ids)
    mask[0, short:] = 0
    ids = torch.where(mask == 1, ids, model.pad_id)
    beside = _run(model, ids, mask, None)
    copy = _run(model, ids[[0, 0]], mask[[0, 0]], None)
    return _moved(model, (copy[0], copy[1][:short]), (beside[0], beside[1][:short]))


def _run(model: Model, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor | None) -> _Seen:
    given: list[torch.Tensor] = []
    states: list[torch.Tensor] = []

    def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given.extend(
            tensor[0]
            for tensor in _tensors(model.stream.in_call(args, kwargs, None))
            if tensor.ndim and len(tensor) == len(ids)
        )

    def after(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        states.append(model.stream.of_output(output))

    with ExitStack() as stack:
        for block in model.blocks:
            stack.callback(block.register_forward_pre_hook(before, with_kwargs=True).remove)
        stack.callback(model.blocks[-1].register_forward_hook(after).remove)
        model.trunk(**model.inputs(ids, mask, positions))
    return given, states[0][0]


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)


def _differ(one: _Seen, other: _Seen) -> bool:
    """Return whether the blocks got other arguments for the same text."""
    return len(one[0]) != len(other[0]) or not all(map(torch.equal, one[0], other[0]))


def _moved(model: Model, one: _Seen, other: _Seen) -> bool:
    """Return whether the last states of the same text differ by more than rounding."""
    here, there = one[1].double(), other[1].double()
    # States that are not finite are ignored here; a capture reports where they begin.
    return bool(here.isfinite().all()) and not float((there - here).norm() / here.norm()) <= _TOLERANCE[model.dtype]
