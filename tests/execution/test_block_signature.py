"""What makes two blocks alike, beyond what a model of the table shows."""

from functools import partial

import torch

from layerscope.execution.block_signature import BlockSignature, comparable
from layerscope.models.discovery.places import Place
from layerscope.models.discovery.streams import StreamPlaces
from layerscope.models.interception import BlockCall
from tests.families import tiny_model

FIRST, SECOND = tiny_model("llama").blocks[:2]

PLACES = StreamPlaces(Place((0, 0)), Place())


def kind(block: torch.nn.Module, *args: object, **kwargs: object) -> object:
    return BlockSignature.of(BlockCall(block, type(block), (torch.zeros(1), *args), kwargs, PLACES)).kind


def kind_by_name(block: torch.nn.Module, stream: torch.Tensor, **kwargs: object) -> object:
    places = StreamPlaces(Place((1, "hidden_states")), Place())
    return BlockSignature.of(BlockCall(block, type(block), (), {"hidden_states": stream} | kwargs, places)).kind


def test_arguments_must_be_the_same_objects() -> None:
    mask, other = torch.zeros(1), torch.zeros(1)
    assert kind(FIRST, mask, cache=(mask, None)) == kind(SECOND, mask, cache=(mask, None))
    assert kind(FIRST, mask) != kind(SECOND, other)
    assert kind(FIRST, mask=mask) != kind(SECOND, mask=other)
    assert kind(FIRST, rotary=(mask, other)) != kind(SECOND, rotary=(other, mask))
    assert kind_by_name(FIRST, mask, causal=True) == kind_by_name(SECOND, other, causal=True)
    assert kind(FIRST, causal=True) != kind(SECOND, causal=False)


def test_facts_are_equal_for_equal_values_of_known_kinds() -> None:
    gelu = torch.nn.functional.gelu
    assert comparable(partial(gelu, approximate="tanh")) == comparable(partial(gelu, approximate="tanh"))
    assert comparable(partial(gelu, approximate="tanh")) != comparable(partial(gelu, approximate="none"))
    assert comparable((1, 2.0, None, "a")) == comparable((1, 2.0, None, "a"))
    assert comparable([1]) != comparable([1])


def test_weights_of_a_special_kind_are_not_stacked() -> None:
    linear = torch.nn.Linear(2, 2).eval()
    assert kind(linear) is not None
    linear.weight = torch.nn.Parameter(linear.weight.data.to("meta"))
    assert kind(linear) is None

    class Packed(torch.nn.Parameter): ...

    linear.weight = Packed(torch.zeros(2, 2))
    assert kind(linear) is None
