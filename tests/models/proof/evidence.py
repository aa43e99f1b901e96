"""Evidence for a module, with some facts of its architecture changed on purpose."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from layerscope.errors import ModelError
from layerscope.models.discovery.cached import probe_cached
from layerscope.models.discovery.discover import discover
from layerscope.models.discovery.probe import probe
from layerscope.models.eval_mode import eval_mode
from layerscope.models.model import Model
from layerscope.models.proof.evidence import Evidence
from layerscope.models.proof.prove import prove


def evidence_of(module: nn.Module, **facts: object) -> Evidence:
    """Return what the proof reads; without facts, of the architecture that is found."""
    with eval_mode(module), torch.no_grad():
        seen = probe(module)
        cached = probe_cached(module, seen)
        found = replace(discover(module, seen, cached, "tiny"), **facts)
    return Evidence(Model(module, None, "tiny", found), seen, cached)


def refusal(module: nn.Module, **facts: object) -> str:
    """Return the message with which a module is refused."""
    with pytest.raises(ModelError) as error:
        prove(evidence_of(module, **facts))
    return str(error.value)
