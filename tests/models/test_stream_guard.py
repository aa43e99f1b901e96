"""A stream that changes between two blocks stops a forward pass, under a schedule and in a capture."""

import pytest
import torch

from layerscope.capturing.backends import BACKENDS
from layerscope.capturing.inputs import TextInputs
from layerscope.capturing.protocol import CaptureSpec
from layerscope.errors import ModelError
from layerscope.execution.scheduled import scheduled
from layerscope.models.loading import wrap_module
from layerscope.models.model import Model
from layerscope.models.stream_guard import guarded_stream
from tests.families import tiny_module

IDS = torch.tensor([[5, 6, 7]])


class Layers(torch.nn.ModuleList):
    """A list of blocks whose owner adds to the stream before block 2 where there are images, as Qwen3-VL does."""

    images = 0.0

    def __getitem__(self, index):
        blocks = super().__getitem__(index)
        if not self.images or not isinstance(index, slice):
            return blocks
        one, two, three, four = blocks
        return [one, two, lambda stream, *args, **kwargs: three(stream + self.images, *args, **kwargs), four]


@pytest.fixture
def model() -> Model:
    module = tiny_module("llama")
    module.model.layers = Layers(module.model.layers)
    return wrap_module(module, name="tiny")


SAID = r"tiny: the stream that reaches block 2 is not the one that block 1 gave: .*\n.*text alone"
"""It is proved on text, and the proof does not see images."""


def test_under_a_schedule(model):
    inputs = model.inputs(IDS, torch.ones_like(IDS))
    with scheduled(model, "skip:1"), torch.no_grad():
        before = model.trunk(**inputs)[0]
        model.trunk.layers.images = 1.0
        with pytest.raises(ModelError, match=SAID):
            model.trunk(**inputs)
        model.trunk.layers.images = 0.0
        assert torch.equal(model.trunk(**inputs)[0], before)  # the next pass starts anew


@pytest.mark.parametrize("backend", ["hooks", "nnsight"])
def test_in_a_capture(model, backend):
    with BACKENDS[backend].load().session(model, CaptureSpec((0, 4))) as run:
        assert len(run(TextInputs(IDS, torch.ones_like(IDS))).hidden) == 2
        model.trunk.layers.images = 1.0
        with pytest.raises(ModelError, match=SAID):
            run(TextInputs(IDS, torch.ones_like(IDS)))


def test_in_a_capture_by_transformer_lens(model):
    """It runs a copy whose blocks are its own, in a list of its own, so the stream is changed there."""
    from layerscope.capturing import transformer_lens_backend

    spec = CaptureSpec((0, 1, 2, 3, 4))
    clone, bridge = transformer_lens_backend._verified_bridge(model, spec)
    with transformer_lens_backend._open_session(clone, bridge, spec) as run:
        run(TextInputs(IDS, torch.ones_like(IDS)))
        clone.blocks[2].register_forward_pre_hook(lambda _, args: (args[0] + 1, *args[1:]))
        with pytest.raises(ModelError, match=SAID):
            run(TextInputs(IDS, torch.ones_like(IDS)))


def test_no_hook_is_left(model):
    with guarded_stream(model):
        pass
    assert not any(block._forward_hooks or block._forward_pre_hooks for block in model.blocks)
