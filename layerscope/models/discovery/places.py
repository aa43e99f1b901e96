"""Places of tensors in the arguments and outputs of modules: find, read and replace them.

Blocks take their stream as a first argument or as a keyword, and return a tensor, a tuple, a list or a dataclass. A `Place` is
the path to one tensor in such a value, so these forms matter here only.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from transformers import Cache, PreTrainedConfig

__all__ = ["Call", "Place", "Step", "leaves_in", "means_the_same", "same_bits", "tensors_in"]

Step = int | str
"""One step into a value: an index of a tuple or list, a key of a mapping, or the name of an attribute of a dataclass."""

Call = tuple[tuple[Any, ...], dict[str, Any]]
"""The arguments of a call: positional ones, and keywords."""

_DEPTH = 4  # containers in containers; deeper ones hold no stream


@dataclass(frozen=True)
class Place:
    """Where one tensor is in a value.

    Attributes
    ----------
    steps
        The steps from the value to the tensor; none if the value is the tensor. The first step into a `Call` is 0 for its
        positional arguments, 1 for its keywords.

    Examples
    --------
    >>> output = (torch.zeros(1), torch.ones(1))
    >>> Place((1,)).read(output)
    tensor([1.])
    >>> Place((0,)).replaced(output, torch.full((1,), 7.0))
    (tensor([7.]), tensor([1.]))
    >>> call = ((torch.zeros(1),), {"mask": None})
    >>> Place((0, 0)).replaced(call, torch.ones(1))
    ((tensor([1.]),), {'mask': None})
    >>> str(Place((1,))), str(Place()), Place((1, "hidden_states")).in_call, Place((0, 0)).in_call
    ('[1]', 'itself', 'hidden_states', 'argument 0')
    """

    steps: tuple[Step, ...] = ()

    def read(self, value: Any) -> Any:
        """Return the item at this place of `value`.

        Raises
        ------
        LookupError, AttributeError, TypeError
            The value has no such place.
        """
        for step in self.steps:
            value = getattr(value, str(step)) if _is_record(value) else value[step]
        return value

    def replaced(self, value: Any, new: Any) -> Any:
        """Return `value` with `new` at this place; the value itself does not change."""
        if not self.steps:
            return new
        step, rest = self.steps[0], Place(self.steps[1:])
        if _is_record(value):
            return replace(value, **{str(step): rest.replaced(getattr(value, str(step)), new)})
        if isinstance(value, Mapping):
            return _with_key(value, step, rest.replaced(value[step], new))
        items = [rest.replaced(item, new) if index == step else item for index, item in enumerate(value)]
        if isinstance(value, list):
            return items
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)

    @property
    def in_call(self) -> str:
        """The name of the place, if it is one of the arguments of a call."""
        kind, first, *rest = self.steps
        return (f"argument {first}" if kind == 0 else str(first)) + _indices(rest)

    def __str__(self) -> str:
        """Return the name of the place, if it is one of an output."""
        return _indices(self.steps) or "itself"


def tensors_in(value: Any) -> dict[Place, torch.Tensor]:
    """Return all tensors of a value by place. Key-value caches are not looked into.

    Examples
    --------
    >>> [str(place) for place in tensors_in((torch.zeros(1), {"mask": torch.ones(1)}, None))]
    ['[0]', "[1]['mask']"]
    """
    return {place: leaf for place, leaf in leaves_in(value).items() if isinstance(leaf, torch.Tensor)}


def leaves_in(value: Any) -> dict[Place, torch.Tensor | Cache]:
    """Return all tensors and caches of a value by place."""
    return {Place(steps): leaf for steps, leaf in _walk(value, (), _DEPTH)}


def means_the_same(call: Call, recorded: Call) -> bool:
    """Whether a call hands in what a recorded one did, where position ids may be given besides.

    A tensor with one line equals a tensor that repeats this line for each sequence.
    """
    now, then = tensors_in(call), tensors_in(recorded)
    added = {place for place in now.keys() - then.keys() if place.steps[-1] == "position_ids"}
    if now.keys() - added != then.keys():
        return False
    return all(_equal_lines(now[place], tensor) for place, tensor in then.items())


def _equal_lines(one: torch.Tensor, other: torch.Tensor) -> bool:
    longer = one if one.numel() > other.numel() else other
    return one.ndim == other.ndim and same_bits(one.expand_as(longer), other.expand_as(longer))


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors are equal bit for bit; a NaN equals itself."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    left, right = one.contiguous(), other.to(one.device).contiguous()
    return torch.equal(left, right) or torch.equal(left.view(torch.uint8), right.view(torch.uint8))


def _walk(value: Any, steps: tuple[Step, ...], depth: int) -> Iterator[tuple[tuple[Step, ...], torch.Tensor | Cache]]:
    if isinstance(value, torch.Tensor | Cache):
        yield steps, value
    elif depth:
        for step, item in _items(value):
            yield from _walk(item, (*steps, step), depth - 1)


def _items(value: Any) -> list[tuple[Any, Any]]:
    if _is_record(value):
        return [(part.name, getattr(value, part.name)) for part in fields(value)]
    if isinstance(value, Mapping):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, tuple | list) else []


def _is_record(value: Any) -> bool:
    """Whether a value is a dataclass that is read by attribute only; the outputs of transformers are mappings too."""
    return is_dataclass(value) and not isinstance(value, type | Mapping | PreTrainedConfig)


def _with_key(value: Mapping[Any, Any], key: Any, new: Any) -> Any:
    changed = dict(value) | {key: new}
    return type(value)(**changed) if is_dataclass(value) else type(value)(changed)  # type: ignore[call-arg]


def _indices(steps: tuple[Step, ...] | list[Step]) -> str:
    return "".join(f"[{step!r}]" for step in steps)
