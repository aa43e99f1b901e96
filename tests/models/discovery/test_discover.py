"""Discovery finds the parts of every family that used to have a hand-written row, exactly as that row had them."""

import pytest
import torch
import transformers as tf
from torch import nn

from layerscope.errors import ModelError
from layerscope.models.discovery.places import Place
from layerscope.models.loading import wrap_module
from tests.families import DEPTH, FAMILIES, VOCABULARY, tiny_model, tiny_module
from tests.families.tiny_modules import random_module

DECODER = {
    "trunk": "model",
    "blocks": "layers",
    "final_norm": "norm",
    "head": "lm_head",
    "causal": True,
    "position_ids": True,
    "positions": None,
    "first_position": 0,
}
ENCODER = DECODER | {
    "blocks": "encoder.layer",
    "final_norm": None,
    "head": None,
    "causal": False,
    "positions": "embeddings.position_embeddings",
}
GPT2 = DECODER | {"trunk": "transformer", "blocks": "h", "final_norm": "ln_f"}
ROWS = {
    "gpt_neox": DECODER | {"trunk": "gpt_neox", "final_norm": "final_layer_norm"},
    "llama": DECODER,
    "mistral": DECODER,
    "qwen2": DECODER,
    "qwen3": DECODER,
    "gemma2": DECODER,
    "gemma3_text": DECODER,
    "gpt2": GPT2 | {"positions": "wpe"},
    "opt": DECODER
    | {"trunk": "model.decoder", "final_norm": "final_layer_norm", "positions": "embed_positions", "first_position": 2},
    "phi": DECODER | {"final_norm": "final_layernorm"},
    "olmo2": DECODER,
    "bloom": GPT2 | {"position_ids": False},
    "falcon": GPT2,
    "bert": ENCODER | {"trunk": "bert"},
    "roberta": ENCODER | {"trunk": "roberta", "position_ids": False, "first_position": 2},
    "distilbert": ENCODER | {"trunk": "distilbert", "blocks": "transformer.layer"},
    "electra": ENCODER | {"trunk": "electra"},
}
TUPLES = ("bloom", "falcon")


@pytest.mark.parametrize("family", ROWS)
def test_every_row_of_the_old_table_is_found(family):
    found = tiny_model(family).architecture
    assert {name: getattr(found, name) for name in ROWS[family]} == ROWS[family]
    assert found.family == family
    assert found.items == tuple(range(DEPTH))
    assert found.stream.into == Place((0, 0))
    assert found.stream.out_of == Place((0,) if family in TUPLES else ())
    assert found.cache == ("past_key_values" if found.causal else None)


def test_the_rows_are_all_families():
    assert set(ROWS) <= set(FAMILIES)


SIZE = {"hidden_size": 32, "num_attention_heads": 4, "vocab_size": VOCABULARY, "num_hidden_layers": 3}
WANTED = {
    "mixtral": lambda: tf.MixtralConfig(**SIZE, intermediate_size=64, num_local_experts=4, num_key_value_heads=2),
    "qwen3_moe": lambda: tf.Qwen3MoeConfig(
        **SIZE,
        intermediate_size=64,
        moe_intermediate_size=16,
        num_experts=4,
        num_experts_per_tok=2,
        num_key_value_heads=2,
        head_dim=8,
    ),
    "gpt_oss": lambda: tf.GptOssConfig(
        **SIZE, intermediate_size=32, num_local_experts=4, num_key_value_heads=2, head_dim=8, sliding_window=4
    ),
    "mamba": lambda: tf.MambaConfig(hidden_size=32, num_hidden_layers=3, vocab_size=VOCABULARY),
}


@pytest.mark.parametrize("family", WANTED)
def test_families_without_any_row(family):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = wrap_module(tf.AutoModelForCausalLM.from_config(WANTED[family]()), name=family)
    assert (model.depth, model.width, model.vocabulary_size) == (3, 32, VOCABULARY)
    assert model.architecture.causal
    assert model.architecture.head == "lm_head"
    assert model.architecture.final_norm is not None


def test_a_list_may_be_longer_than_what_runs():
    module = tiny_module("llama")
    module.model.layers.append(nn.Identity())
    assert wrap_module(module, name="longer").architecture.items == tuple(range(DEPTH))


@pytest.mark.parametrize("family", ["llama", "gemma3_text", "bloom"])
def test_without_attention_a_model_with_a_cache_is_causal(family):
    module = tiny_module(family)
    for block in tiny_model(family).blocks:
        name = next(name for name, part in tiny_model(family).module.named_modules() if part is block)
        for parameter in module.get_submodule(name).parameters():
            parameter.data.zero_()
    assert wrap_module(module, name="ablated").architecture.causal


REFUSED = {
    "albert": (
        "Seen: AlbertForMaskedLM: albert.encoder.albert_layer_groups: its items are called 4 times; ",
        "Missing: blocks that pass one stream from each to the next.",
    ),
    "squeezebert": (
        "Seen: SqueezeBertForMaskedLM: no module list whose items are called (its code may call their .forward, past all hooks)",
        "Missing: blocks that pass one stream from each to the next.",
    ),
    "deepseek_v4": ("Seen: the blocks of model.layers pass on 4 streams side by side.", "Missing: one stream."),
    "xlnet": (
        "Seen: the states of transformer.layer have the shape (7, 2, 64) for 2 x 7 tokens.",
        "Missing: a state for each token of each sequence.",
    ),
}


@pytest.mark.parametrize("family", REFUSED)
def test_a_model_whose_blocks_cannot_be_found_is_refused_in_two_lines(family):
    with pytest.raises(ModelError) as error:
        wrap_module(random_module(family), name="tiny")
    seen, missing = str(error.value).split("\n")
    assert seen.startswith(f"tiny: this model is refused. {REFUSED[family][0]}")
    assert missing == REFUSED[family][1]
