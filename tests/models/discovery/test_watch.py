"""Watching a forward pass: order, parents, identities; and places in values of any form."""

from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from transformers import DynamicCache
from transformers.modeling_outputs import BaseModelOutput

from layerscope.models.discovery.places import Place, tensors_in
from layerscope.models.discovery.watch import watch

Pair = namedtuple("Pair", "one other")


@dataclass
class Record:
    stream: torch.Tensor
    mask: torch.Tensor | None = None


A, B, NEW = torch.zeros(1), torch.ones(1), torch.full((1,), 2.0)
VALUES = {
    "tensor": (B, ()),
    "tuple": ((A, B), (1,)),
    "list": ([A, B], (1,)),
    "named tuple": (Pair(A, B), (1,)),
    "dict": ({"a": A, "b": B}, ("b",)),
    "dataclass": (Record(B), ("stream",)),
    "model output": (BaseModelOutput(last_hidden_state=B), ("last_hidden_state",)),
    "nested": ((A, {"deep": [Record(B)]}), (1, "deep", 0, "stream")),
    "a call": (((A,), {"hidden_states": B}), (1, "hidden_states")),
}


@pytest.mark.parametrize("form", VALUES)
def test_a_place_finds_reads_and_replaces(form):
    value, steps = VALUES[form]
    place = Place(steps)
    assert [found for found, tensor in tensors_in(value).items() if tensor is B] == [place]
    assert place.read(value) is B
    changed = place.replaced(value, NEW)
    assert type(changed) is type(value if steps else NEW)
    assert place.read(changed) is NEW
    assert place.read(value) is B
    rest = {found: tensor for found, tensor in tensors_in(changed).items() if found != place}
    assert rest == {found: tensor for found, tensor in tensors_in(value).items() if found != place}


def test_caches_are_not_looked_into():
    cache = DynamicCache()
    cache.update(torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1), 0)
    assert tensors_in({"past": cache, "mask": None, "a": (A,)}) == {Place(("a", 0)): A}


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(2, 2)

    def forward(self, stream, scale):
        self.inner.forward(stream)  # no hook hears this
        changed = self.inner(self.inner(stream))
        stream += scale
        return changed, stream


@torch.no_grad()
def test_calls_parents_identities_and_what_is_written_in_place():
    network, stream = Network(), torch.zeros(1, 2)
    with watch(network) as seen:
        changed, _ = network(stream, scale=torch.ones(1))
    outer, first, second = seen.calls
    assert [call.name for call in seen.calls] == ["", "inner", "inner"]
    assert outer.began < first.began < first.ended < second.began < second.ended < outer.ended
    assert (first.parent, second.parent, outer.parent) == (outer, outer, None)
    assert seen.inside(outer) == seen.children(outer) == seen.of(network.inner) == [first, second]
    assert second.reads(first.output)
    assert not second.reads(first.output.clone())
    assert outer.made[Place((0,))] is changed is second.output
    assert outer.given[Place((1, "scale"))].item() == 1
    assert stream._version > outer.versions[Place((0, 0))]


def test_no_hook_is_left_even_after_an_error():
    network = Network()
    with pytest.raises(TypeError), watch(network):
        network()
    with watch(network, [network.inner]) as seen, torch.no_grad():
        network(torch.zeros(1, 2), 1.0)
    assert [call.name for call in seen.calls] == ["inner", "inner"]
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in network.modules())
