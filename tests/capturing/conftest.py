"""What the files of the conformance suite watch backends with."""

import functools
from collections.abc import Iterator

import pytest
import torch

from layerscope.capturing import transformer_lens_backend
from tests.capturing.conformance import make_model
from tests.families import FAMILIES


@pytest.fixture(scope="module")
def block_runs() -> Iterator[list[torch.nn.Module]]:
    """Collect every run of a block's forward, of whatever copy of the model."""
    runs = []
    verified_bridge.cache_clear()  # a bridge may bind the forward of its blocks when it is built (Falcon's does)
    with pytest.MonkeyPatch.context() as patch:
        for block in {type(make_model(family).blocks[0]) for family in FAMILIES}:

            def counted(self, *args, _forward=block.forward, **kwargs):
                runs.append(self)
                return _forward(self, *args, **kwargs)

            patch.setattr(block, "forward", functools.wraps(block.forward)(counted))
        yield runs
    verified_bridge.cache_clear()


@pytest.fixture
def kept_bridges(monkeypatch):
    """Build each bridge once: what a session wants changes only what is read from it."""
    monkeypatch.setattr(transformer_lens_backend, "_verified_bridge", verified_bridge)


verified_bridge = functools.cache(transformer_lens_backend._verified_bridge)
