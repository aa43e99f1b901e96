"""The context, one case for every scheme of positions; published models by their published settings."""

import pytest
import torch
import transformers as tf

from layerscope.models.context_length import context_length
from layerscope.models.loading import wrap_module
from tests.families import FAMILIES, tiny_model

LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
LONG = {"short_factor": [1.0] * 4, "long_factor": [8.0] * 4}

ROTARY = {
    "plain": (2048, {"rope_type": "default"}, 2048),
    "none": (2048, None, 2048),
    "linear": (32, {"rope_type": "linear", "factor": 4.0}, 128),
    "linear, a half": (2048, {"rope_type": "linear", "factor": 2.5}, 5120),
    "linear, extended already": (
        128,
        {"rope_type": "linear", "factor": 4.0, "original_max_position_embeddings": 32},
        128,
    ),
    "dynamic": (4096, {"rope_type": "dynamic", "factor": 2.0}, 8192),
    "yarn, extended already": (  # as DeepSeek and gpt-oss are published
        163840,
        {"rope_type": "yarn", "factor": 40.0, "original_max_position_embeddings": 4096},
        163840,
    ),
    "yarn, not extended": (  # as the cards of Qwen2.5 say
        32768,
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768},
        131072,
    ),
    "yarn without its original": (32768, {"rope_type": "yarn", "factor": 4.0}, 131072),
    "llama3": (131072, {"rope_type": "llama3", "factor": 8.0, **LLAMA3}, 131072),  # Llama 3.1
    "llama3, 32": (131072, {"rope_type": "llama3", "factor": 32.0, **LLAMA3}, 131072),  # Llama 3.2
    "longrope": (64, {"rope_type": "longrope", "factor": 8.0, "original_max_position_embeddings": 8, **LONG}, 64),
    "longrope without a factor": (
        131072,
        {"rope_type": "longrope", "original_max_position_embeddings": 4096, **LONG},
        131072,
    ),
    "a type of its own": (512, {"rope_type": "default", "factor": 8.0}, 512),
}


@pytest.mark.parametrize("case", ROTARY)
@pytest.mark.filterwarnings("ignore")
def test_rotary_positions(case):
    longest, scaling, expected = ROTARY[case]
    rope = scaling and {"rope_theta": 1e4, **scaling}
    config = tf.LlamaConfig(
        hidden_size=32, num_attention_heads=4, max_position_embeddings=longest, rope_parameters=rope
    )
    assert context_length(config) == expected


def test_one_scaling_for_each_kind_of_block():
    """Gemma 3 is made for 131072 tokens: its global blocks are scaled by 8, its local ones are not."""
    scalings = {
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        "full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0},
    }
    config = tf.Gemma3TextConfig(max_position_embeddings=131072, rope_parameters=scalings, num_hidden_layers=6)
    assert context_length(config) == 131072


@pytest.mark.parametrize("factor", ["four", None, float("inf"), float("nan")])
def test_a_factor_that_is_no_number_extends_nothing(factor):
    config = tf.LlamaConfig(max_position_embeddings=32)
    config.rope_parameters = {"rope_type": "linear", "factor": factor}
    assert context_length(config) == 32


CONTEXTS = dict.fromkeys(FAMILIES, 64) | {"roberta": 62, "bloom": None, "falcon": 64}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family(family):
    assert tiny_model(family).context == CONTEXTS[family]


LEARNED = ("gpt2", "opt", "bert", "roberta", "distilbert", "electra")


@pytest.mark.parametrize("family", LEARNED)
def test_learned_positions_run_to_their_limit_and_not_beyond(family):
    model = tiny_model(family)
    most = model.max_positions
    assert most == model.context
    for tokens, runs in ((most, True), (most + 1, False)):
        ids = torch.full((1, tokens), 5)
        arguments = model.inputs(ids, torch.ones_like(ids))
        with torch.no_grad():
            if runs:
                model.trunk(**arguments)
            else:
                with pytest.raises((IndexError, RuntimeError)):
                    model.trunk(**arguments)


@pytest.mark.parametrize("family", [family for family in FAMILIES if family not in LEARNED])
def test_no_other_family_has_a_limit(family):
    model = tiny_model(family)
    assert model.max_positions is None
    ids = torch.full((1, 80), 5)
    with torch.no_grad():
        assert model.trunk(**model.inputs(ids, torch.ones_like(ids))).last_hidden_state.isfinite().all()


def test_falcon_with_alibi_has_no_limit():
    config = tf.FalconConfig(
        hidden_size=32, num_attention_heads=4, vocab_size=97, num_hidden_layers=2, alibi=True, multi_query=False
    )
    assert wrap_module(tf.FalconForCausalLM(config), name="falcon").context is None
