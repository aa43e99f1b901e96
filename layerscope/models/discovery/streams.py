"""The stream in the calls and outputs of blocks: read it, replace it, and make the output of a block without running it."""

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers import Cache

from layerscope.models.discovery.places import Call, Place, leaves_in

__all__ = ["OutputForm", "StreamPlaces", "with_copied_caches"]


@dataclass(frozen=True)
class StreamPlaces:
    """Where the stream is in the arguments and in the output of the blocks of one model.

    Attributes
    ----------
    into
        Place among the arguments of a block.
    out_of
        Place in its output.

    Examples
    --------
    >>> places = StreamPlaces(Place((1, "hidden_states")), Place((0,)))
    >>> places.of_call((), {"hidden_states": torch.ones(1), "mask": None})
    tensor([1.])
    >>> places.of_output((torch.ones(1), "weights"))
    tensor([1.])
    """

    into: Place
    out_of: Place

    def of_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
        """Return the stream that a call hands in."""
        stream: torch.Tensor = self.into.read((args, kwargs))
        return stream

    def in_call(self, args: tuple[Any, ...], kwargs: dict[str, Any], stream: Any) -> Call:
        """Return the arguments of a call with another stream."""
        call: Call = self.into.replaced((args, kwargs), stream)
        return call

    def of_output(self, output: Any) -> torch.Tensor:
        """Return the stream in the output of a block."""
        stream: torch.Tensor = self.out_of.read(output)
        return stream

    def in_output(self, output: Any, stream: torch.Tensor) -> Any:
        """Return the output of a block with another stream."""
        return self.out_of.replaced(output, stream)


@dataclass(frozen=True)
class OutputForm:
    """What a block returns besides the stream, so that its output can be made without running it.

    Attributes
    ----------
    rest
        The output without its tensors and caches, in whose places is None.
    passed_on
        Places of the output that hold an argument, with the place of that argument.
    handed_on
        Places of the output of which later blocks are given what this block made there (T5's position bias). To know it, this
        block must run.

    Examples
    --------
    >>> stream, mask = torch.zeros(1), torch.ones(1)
    >>> call = (stream,), {"mask": mask}
    >>> form = OutputForm.of(call, (stream + 1, mask, stream * 2))
    >>> places = StreamPlaces(Place((0, 0)), Place((0,)))
    >>> form.filled(places, call, torch.full((1,), 7.0))
    (tensor([7.]), tensor([1.]), None)
    """

    rest: Any
    passed_on: tuple[tuple[Place, Place], ...] = ()
    handed_on: tuple[Place, ...] = ()

    @classmethod
    def of(cls, call: Call, output: Any, given_later: Collection[int] = ()) -> "OutputForm":
        """Return the form of an output that a block gave to a call; `given_later` are the ids of what later blocks are given."""
        places = {id(leaf): place for place, leaf in leaves_in(call).items()}
        passed = ((place, places[id(leaf)]) for place, leaf in leaves_in(output).items() if id(leaf) in places)
        handed = (p for p, leaf in leaves_in(output).items() if id(leaf) in given_later and id(leaf) not in places)
        return cls(_without_leaves(output), tuple(passed), tuple(handed))

    def filled(self, places: StreamPlaces, call: Call, stream: torch.Tensor, made: Any = None) -> Any:
        """Return the output to a call whose stream is `stream`; `made` is what the block itself made, where it must run."""
        output = self.rest
        for place in self.handed_on:
            output = place.replaced(output, place.read(made))
        for place, argument in self.passed_on:
            output = place.replaced(output, argument.read(call))
        return places.in_output(output, stream)


def with_copied_caches(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    """Return the arguments of a call with copies of the caches among them."""
    call: Call = (args, kwargs)
    for place, leaf in leaves_in(call).items():
        if isinstance(leaf, Cache):
            call = place.replaced(call, copy.deepcopy(leaf))
    return call


def _without_leaves(value: Any) -> Any:
    if isinstance(value, torch.Tensor | Cache):
        return None
    for place in leaves_in(value):
        value = place.replaced(value, None)
    return value if isinstance(value, tuple | list | Mapping) or hasattr(value, "__dataclass_fields__") else None
