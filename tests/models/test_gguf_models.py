"""Models written as GGUF and read back compute what they computed; whatever would change that is refused by its name."""

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize

from layerscope.models import gguf
from layerscope.models.loading import load_model
from tests.models import gguf_files

_IDS = torch.tensor([[5, 6, 99, 30, 31, 32, 256, 7, 8, 200, 100, 41, 42, 43, 44, 45, 46, 47, 48, 49] * 2])


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LAYERSCOPE_CACHE", str(tmp_path / "cache"))


def _states(module) -> np.ndarray:
    """Return the state after the last norm, and the logits."""
    with torch.no_grad():
        out = module(_IDS, output_hidden_states=True)
    return torch.cat([out.hidden_states[-1], out.logits], -1)[0].numpy()


def _check_equal(path: Path, module, within: float = 1e-5) -> None:
    expected, found = _states(module), _states(load_model(path).module)
    assert np.linalg.norm(expected - found) / np.linalg.norm(expected) < within


def _llama3_factors(dims: int, base: float, factor: float, low: float, high: float, length: int) -> np.ndarray:
    """Stretch long wavelengths by the factor, short ones not at all, and those between in between."""
    waves = [2 * math.pi * base ** (2 * i / dims) for i in range(dims // 2)]
    shares = [min(max((length / wave - low) / (high - low), 0), 1) for wave in waves]
    return np.array([1 / ((1 - share) / factor + share) for share in shares], np.float32)


def _rope(**settings) -> dict:
    return {"rope_parameters": {"rope_theta": 1e4} | settings}


_LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
_YARN = {"factor": 4.0, "original_max_position_embeddings": 16}
_LONG_YARN = _YARN | {"original_max_position_embeddings": 1024}  # where the betas matter to heads this narrow
_YARN_KEYS = {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 16}
_BY_SCALE = {"attention.key_length": 8, "attention.value_length": 8, "attention.sliding_window": 5}
_WINDOW = {"head_dim": 8, "sliding_window": 5, "query_pre_attn_scalar": 8}
_GEMMA3_LINEAR = {
    "full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
}

FEATURES = {
    "llama": ("llama", {}, {}),
    "tied head": ("llama", {"tie_word_embeddings": True}, {}),
    "another base": ("llama", _rope(rope_theta=5e5), {"rope.freq_base": 5e5}),
    "heads wider than their share": (
        "llama",
        {"head_dim": 16},
        {"attention.key_length": 16, "attention.value_length": 16},
    ),
    "linear": (
        "llama",
        _rope(rope_type="linear", factor=4.0),
        {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0},
    ),
    "linear, not said": ("llama", _rope(rope_type="linear", factor=4.0), {"rope.scaling.factor": 4.0}),
    "linear, the old key": ("llama", _rope(rope_type="linear", factor=4.0), {"rope.scale_linear": 4.0}),
    "scaling none": ("llama", {}, {"rope.scaling.type": "none", "rope.scaling.factor": 4.0}),
    "yarn": ("llama", _rope(rope_type="yarn", **_YARN), _YARN_KEYS),
    "yarn of qwen2": ("qwen2", _rope(rope_type="yarn", **_YARN), _YARN_KEYS),
    "yarn with betas": (
        "llama",
        {"head_dim": 16} | _rope(rope_type="yarn", beta_fast=8.0, beta_slow=2.0, **_LONG_YARN),
        _YARN_KEYS
        | {"rope.scaling.original_context_length": 1024, "attention.key_length": 16, "attention.value_length": 16}
        | {"rope.scaling.yarn_beta_fast": 8.0, "rope.scaling.yarn_beta_slow": 2.0},
    ),
    "yarn with a factor of attention": (
        "llama",
        _rope(rope_type="yarn", attention_factor=1.5, **_YARN),
        _YARN_KEYS | {"rope.scaling.yarn_attn_factor": 1.5},
    ),
    "biases of attention": ("llama", {"attention_bias": True}, {}),
    "biases of mlp": ("llama", {"mlp_bias": True}, {}),
    "qwen2": ("qwen2", {}, {}),
    "qwen3": ("qwen3", {"head_dim": 8}, {"attention.key_length": 8, "attention.value_length": 8}),
    "qwen3 with biases": ("qwen3", {"head_dim": 8, "attention_bias": True}, {"attention.key_length": 8}),
    "sliding window": ("mistral", {"sliding_window": 5}, {"attention.sliding_window": 5}),
    "gemma2": ("gemma2", _WINDOW, _BY_SCALE),
    "gemma2, caps": (
        "gemma2",
        _WINDOW | {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 1.5},
        _BY_SCALE | {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 1.5},
    ),
    "gemma2, scale said": (
        "gemma2",
        _WINDOW | {"query_pre_attn_scalar": 144},
        _BY_SCALE | {"attention.scale": 1 / 12},
    ),
    "gemma2 of 27 billion": (
        "gemma2",
        _WINDOW | {"num_hidden_layers": 46, "head_dim": 4, "query_pre_attn_scalar": 8, "initializer_range": 0.05},
        _BY_SCALE | {"attention.key_length": 4, "attention.value_length": 4},
    ),
    "gemma3": ("gemma3_text", _WINDOW, _BY_SCALE),
    "gemma3, untied head": ("gemma3_text", _WINDOW | {"tie_word_embeddings": False}, _BY_SCALE),
    "gemma3, scaled": (
        "gemma3_text",
        _WINDOW | {"rope_parameters": _GEMMA3_LINEAR, "layer_types": ["sliding_attention", "full_attention"] * 2},
        _BY_SCALE | {"attention.sliding_window_pattern": 2, "rope.scaling.type": "linear", "rope.scaling.factor": 8.0},
    ),
    "gemma3, a list of windows": (
        "gemma3_text",
        _WINDOW | {"layer_types": ["full_attention", "sliding_attention", "sliding_attention", "full_attention"]},
        _BY_SCALE | {"attention.sliding_window_pattern": [False, True, True, False]},
    ),
    "gemma3 of 27 billion": (
        "gemma3_text",
        _WINDOW | {"num_hidden_layers": 62, "head_dim": 4, "query_pre_attn_scalar": 8, "initializer_range": 0.05},
        _BY_SCALE | {"attention.key_length": 4, "attention.value_length": 4},
    ),
    "gpt2": ("gpt2", {}, {}),
    "bloom": ("bloom", {}, {}),
    "falcon": ("falcon", {}, {}),
    "falcon, newer": ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}, {}),
}


@pytest.mark.parametrize("feature", FEATURES)
def test_a_model_read_back_computes_the_same(tmp_path, feature):
    family, settings, keys = FEATURES[feature]
    module = gguf_files.model(family, **settings)
    _check_equal(gguf_files.write(tmp_path / "m.gguf", module, keys), module)


def test_factors_of_llama3_are_applied(tmp_path):
    module = gguf_files.model("llama", head_dim=16, **_rope(rope_type="llama3", **_LLAMA3))
    factors = _llama3_factors(16, 1e4, 8.0, 1.0, 4.0, 32)
    assert np.unique(factors).size == 3  # one wave is stretched in part
    assert factors.min() == 1
    width = {"attention.key_length": 16, "attention.value_length": 16}
    _check_equal(gguf_files.write(tmp_path / "m.gguf", module, width, {"rope_freqs.weight": factors}), module)


def test_lists_of_longrope_are_applied(tmp_path):
    short, long = [1.0, 1.5, 2.0, 4.0], [1.0, 3.0, 5.0, 9.0]
    rope = {"rope_type": "longrope", "factor": 4.0, "attention_factor": 1.25, "original_max_position_embeddings": 16}
    module = gguf_files.model("llama", **_rope(short_factor=short, long_factor=long, **rope))
    keys = {"type": "longrope", "attn_factor": 1.25, "original_context_length": 16}
    lists = {"rope_factors_short.weight": np.array(short), "rope_factors_long.weight": np.array(long)}
    path = gguf_files.write(tmp_path / "m.gguf", module, {f"rope.scaling.{key}": keys[key] for key in keys}, lists)
    _check_equal(path, module)


def test_biases_that_no_block_has_are_zero(tmp_path):
    module = gguf_files.model("llama", attention_bias=True)
    for block in module.model.layers:
        block.self_attn.o_proj.bias.data.zero_()
    without = {f"blk.{block}.attn_output.bias": None for block in range(4)}
    _check_equal(gguf_files.write(tmp_path / "m.gguf", module, replaced=without), module)


def test_keys_without_effect_change_nothing(tmp_path):
    module = gguf_files.model("llama")
    keys = {
        "general.name": "a name",
        "general.sampling.temp": 0.6,
        "vocab_size": 257,
        "expert_count": 0,
        "logit_scale": 1.0,
        "rope.dimension_count": 8,
        "rope.scaling.finetuned": True,
        "split.count": 1,
        "split.no": 0,
        "tokenizer.ggml.fim_pre_token_id": 5,
        "tokenizer.ggml.add_sep_token": False,
    }
    _check_equal(gguf_files.write(tmp_path / "m.gguf", module, keys), module)


def test_two_conversions_are_the_same(tmp_path, monkeypatch):
    path, found = gguf_files.write(tmp_path / "m.gguf", gguf_files.model("llama")), []
    for cache in ("one", "two"):
        monkeypatch.setenv("LAYERSCOPE_CACHE", str(tmp_path / cache))
        folder = gguf.convert(path)
        found.append({file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()})
        del found[-1]["manifest.json"]  # which has the times of the files
    assert found[0] == found[1]


def test_generation_ends_at_the_end_of_a_text_and_of_a_turn(tmp_path):
    keys = {"tokenizer.ggml.eos_token_id": 3, "tokenizer.ggml.eot_token_id": 5}
    module = load_model(gguf_files.write(tmp_path / "m.gguf", gguf_files.model("llama"), keys)).module
    assert module.generation_config.eos_token_id == [3, 5]
    assert module.config.eos_token_id == 3


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_1"])
def test_rounded_weights_are_read_as_they_were_rounded(tmp_path, kind):
    module = gguf_files.model("llama", intermediate_size=64)
    kind = GGMLQuantizationType[kind]
    rounded = {
        name: dequantize(quantize(values, kind), kind)
        for name, values in gguf_files.tensors(module).items()
        if values.ndim == 2
    }
    exact = load_model(gguf_files.write(tmp_path / "exact.gguf", module, {}, rounded)).module
    found = load_model(gguf_files.write(tmp_path / "m.gguf", module, {}, rounded, kind=kind)).module
    assert all(torch.equal(each, other) for each, other in zip(exact.parameters(), found.parameters(), strict=True))
    assert not torch.equal(found.lm_head.weight, module.lm_head.weight)
