"""Tiny models whose rotary frequencies depend on the length of the text, and what each text gives alone."""

import numpy as np
import pytest
import torch
import transformers

from layerscope.models.loading import wrap_module
from layerscope.models.model import Model
from tests.families import VOCABULARY
from tests.tokenizers import word_tokenizer

BORDER = 8
CONTEXT = 60
SCALINGS = {
    "longrope": {
        "original_max_position_embeddings": BORDER,
        "short_factor": [1.0] * 4,
        "long_factor": [8.0] * 4,
        "factor": 8.0,
    },
    "dynamic": {"factor": 8.0},
    "linear": {"factor": 8.0},
    "default": {},
}


def scaled_module(scaling: str) -> torch.nn.Module:
    """Make a fresh llama with a scaling of its rotary frequencies; attention matters in it."""
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=64 if scaling == "longrope" else BORDER,
        rope_parameters={"rope_type": scaling, "rope_theta": 1e4} | SCALINGS[scaling],
        initializer_range=0.3,
        eos_token_id=None,
        bos_token_id=None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return transformers.LlamaForCausalLM(config).eval()


def scaled_model(scaling: str, patch: pytest.MonkeyPatch) -> Model:
    """Wrap one, with a context well beyond its border."""
    patch.setattr(Model, "context", property(lambda model: CONTEXT))
    return wrap_module(scaled_module(scaling), word_tokenizer(), name=scaling)


def logits_alone(scaling: str, ids: list[int]) -> torch.Tensor:
    """Run one text by itself through a module that has run nothing else."""
    with torch.no_grad():
        logits: torch.Tensor = scaled_module(scaling)(torch.tensor([ids]), use_cache=False).logits[0]
    return logits


def state_alone(scaling: str, ids: list[int], layer: int) -> np.ndarray:
    """Return a state (of a block that is not the last) of one text by itself."""
    with torch.no_grad():
        states = scaled_module(scaling)(torch.tensor([ids]), use_cache=False, output_hidden_states=True).hidden_states
    return np.asarray(states[layer][0])
