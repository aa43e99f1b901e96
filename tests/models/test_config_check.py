"""Configurations that are not those of the weights are refused before anything large is made."""

import pytest
import torch

from layerscope.models import config_check
from tests.families import tiny_module
from tests.models.folders import change_json, refusal

# Configurations that are not those of the weights

LIES = {
    "a billion blocks": ({"num_hidden_layers": 10**9}, "num_hidden_layers 1000000000, the weights have 4 blocks"),
    "one block more": ({"num_hidden_layers": 5}, "num_hidden_layers 5, the weights have 4 blocks"),
    "one block less": ({"num_hidden_layers": 3}, "9 not used (model.layers.3.input_layernorm.weight, "),
    "no features": ({"hidden_size": 0}, "hidden_size 0: it must be a whole number of 1 or more"),
    "half a feature": ({"hidden_size": 32.5}, "hidden_size 32.5: it must be"),
    "sizes in words": ({"num_attention_heads": "four"}, "num_attention_heads 'four': it must be"),
    "a negative size": ({"max_position_embeddings": -1}, "max_position_embeddings -1: it must be"),
    "true as a size": ({"intermediate_size": True}, "intermediate_size True: it must be"),
    "a vocabulary beyond memory": ({"vocab_size": 10**12}, "64,000,000,037,160 values, the weights have 43,360"),
    "a vocabulary too large": ({"vocab_size": 98}, "2 of another shape (lm_head.weight, model.embed_tokens.weight)"),
    "a vocabulary too small": ({"vocab_size": 96}, "2 of another shape (lm_head.weight, model.embed_tokens.weight)"),
    "heads as wide as the world": ({"head_dim": 10**9}, "values, the weights have 43,360"),
    "no family": ({"model_type": None}, "config.json has model_type None: it is no family of transformers"),
    "a list of families": ({"model_type": ["llama"]}, "config.json has model_type ['llama']: it is no family"),
    "another family's class": ({"architectures": ["GPT2LMHeadModel"]}, "the family llama and a class of another"),
    "a hundred million labels": (
        {"num_labels": 10**8},
        "num_labels 100000000: it must be a whole number up to 1,000,000",
    ),
    "a size beyond 64 bits": ({"hidden_size": 10**400}, "cannot be read as a model"),
    "NaN for a rotary base": (
        {"rope_parameters": {"rope_type": "default", "rope_theta": float("nan")}},
        "config.json has rope_theta nan: it must be a finite number above 0",
    ),
    "attention of a missing package": ({"attn_implementation": "flash_attention_2"}, "install what it names"),
    "a wrong type": ({"rms_norm_eps": "small"}, "cannot be read as a model (Strict"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_configuration_of_another_model(tiny_folder, lie):
    changes, said = LIES[lie]
    change_json(tiny_folder / "config.json", **changes)
    assert said in refusal(tiny_folder)


@pytest.mark.parametrize(
    ("family", "key"), [("gpt2", "n_layer"), ("distilbert", "n_layers"), ("qwen2", "num_hidden_layers")]
)
def test_depth_is_checked_by_the_name_that_the_family_uses(tmp_path, family, key):
    tiny_module(family).save_pretrained(tmp_path / family)
    change_json(tmp_path / family / "config.json", **{key: 10**9})
    assert f"{key} 1000000000, the weights have 4 blocks" in refusal(tmp_path / family)


def test_depth_is_checked_for_bin_files_too(tiny_folder):
    (tiny_folder / "model.safetensors").unlink()
    torch.save(tiny_module("llama").state_dict(), tiny_folder / "pytorch_model.bin")
    change_json(tiny_folder / "config.json", num_hidden_layers=10**9)
    assert "the weights have 4 blocks" in refusal(tiny_folder)


def test_a_model_larger_than_the_machine_is_forecast(tiny_folder, monkeypatch):
    monkeypatch.setattr(config_check.os, "sysconf", lambda name: 4096 if name == "SC_PAGE_SIZE" else 10)
    assert "this machine has 0 GB: give --dtype bfloat16" in refusal(tiny_folder)
