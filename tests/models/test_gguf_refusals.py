"""GGUF files of which anything would be left out or made up are refused by the name of the key or the tensor."""

import numpy as np
import pytest
from gguf import GGUFEndian

from layerscope.errors import ModelError
from layerscope.models.loading import load_model
from tests.families import tiny_module
from tests.models import gguf_files


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LAYERSCOPE_CACHE", str(tmp_path / "cache"))


_YARN_KEYS = {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 16}
_GONE = {f"blk.{block}.{part}.weight": None for block in (2, 3) for part in ("attn_q", "ffn_norm")}


@pytest.mark.parametrize(
    ("family", "keys", "tensors", "said"),
    [
        ("llama", {}, _GONE, r"4 tensors missing \(blk\.2\.attn_q\.weight, blk\.2\.ffn_norm\.weight, blk\.3"),
        ("llama", {"split.count": 3}, _GONE, r"split\.count = 3(.|\n)*Join its parts first"),
        ("llama", {}, {"token_embd.weight": None}, r"1 tensor missing \(token_embd"),
        ("llama", {}, {"blk.1.attn_q.bias": np.ones(32)}, r"11 tensors missing \(blk\.0\.attn_k\.bias"),
        (
            "mistral",
            {"attention.sliding_window": 5},
            {"blk.0.attn_q.bias": np.ones(32)},
            r"without a place.*blk\.0\.attn_q\.bias",
        ),
        (
            "qwen2",
            {},
            {"blk.3.attn_output.bias": np.ones(32)},
            r"without a place in qwen2 \(blk\.3\.attn_output\.bias\)",
        ),
        (
            "llama",
            {},
            {"blk.0.ffn_up_exps.weight": np.ones((2, 48, 32))},
            r"without a place in llama \(blk\.0\.ffn_up_exps",
        ),
        ("llama", {}, {"blk.0.ffn_up.weight": np.ones((48, 16))}, r"blk\.0\.ffn_up\.weight \(48, 16\) for \(48, 32\)"),
        ("gpt2", {}, {"blk.0.ffn_up.weight": np.ones((32, 48))}, r"blk\.0\.ffn_up\.weight \(48, 32\) for \(32, 48\)"),
        ("llama", {"block_count": 3}, {}, r"9 tensors without a place in llama \(blk\.3\."),
        ("llama", {"block_count": 10**9}, {}, r"llama\.block_count = 1000000000 is beyond 1000"),
        ("llama", {"block_count": 5}, {}, r"9 tensors missing \(blk\.4\."),
        (
            "llama",
            {"expert_count": 8, "expert_used_count": 2},
            {},
            r"llama\.expert_count = 8, llama\.expert_used_count = 2",
        ),
        ("llama", {"attention.scale": 0.5}, {}, r"1 key not known \(llama\.attention\.scale = 0\.5\)"),
        ("llama", {"logit_scale": 8.0}, {}, r"llama\.logit_scale = 8"),
        ("llama", {"residual_scale": 0.5}, {}, r"llama\.residual_scale = 0\.5"),
        ("llama", {"attn_logit_softcapping": 50.0}, {}, r"llama\.attn_logit_softcapping = 50"),
        ("llama", {"attention.causal": False}, {}, r"llama\.attention\.causal = False"),
        ("llama", {"rope.scaling.yarn_beta_fast": 8.0}, {}, r"llama\.rope\.scaling\.yarn_beta_fast = 8"),
        ("llama", {"rope.scaling.attn_factor": 2.0}, {}, r"llama\.rope\.scaling\.attn_factor = 2"),
        (
            "llama",
            {"rope.freq_base": float("inf")},
            {},
            r"llama\.rope\.freq_base = inf must be a finite number above 0",
        ),
        (
            "llama",
            {"rope.scaling.factor": float("nan")},
            {},
            r"llama\.rope\.scaling\.factor = nan must be a finite number above 0",
        ),
        ("llama", {"rope.scaling.type": "dynamic"}, {}, r"llama\.rope\.scaling\.type = dynamic is unknown"),
        ("llama", {"rope.scaling.type": "longrope"}, {}, r"the tensor rope_factors_short\.weight is missing"),
        ("llama", {}, {"rope_freqs.weight": np.ones(3)}, r"the tensor rope_freqs\.weight has shape \(3,\), not \(4,\)"),
        (
            "llama",
            {"attention.value_length": 4},
            {},
            r"llama\.attention\.value_length = 4 differs from the 8 of the keys",
        ),
        (
            "llama",
            {"attention.head_count": [4, 4, 2, 4]},
            {},
            r"llama\.attention\.head_count = .* differs between blocks",
        ),
        ("llama", {"attention.head_count": None}, {}, r"the key llama\.attention\.head_count is missing"),
        ("llama", {"vocab_size": 300}, {}, r"llama\.vocab_size = 300"),
        ("llama", {"other.key": "of somebody"}, {}, r"other\.key = of somebody"),
        ("llama", {"general.type": "adapter"}, {}, r"general\.type = adapter(.|\n)*Give the file of the model itself"),
        ("qwen2", {"attention.sliding_window": 5}, {}, r"qwen2\.attention\.sliding_window = 5"),
        ("gemma2", {"attention.scale": 0.3}, {}, r"gemma2\.attention\.scale = 0\.3"),
        (
            "gemma3_text",
            {"rope.freq_base": None, "attention.key_length": 256},
            {},
            r"the key gemma3\.rope\.freq_base is missing",
        ),
        ("gemma3_text", _YARN_KEYS | {"attention.key_length": 256}, {}, r"gemma3\.rope\.scaling\.type = yarn"),
        ("bloom", {"attention.max_alibi_bias": 4.0}, {}, r"bloom\.attention\.max_alibi_bias = 4"),
    ],
)
def test_what_would_be_left_out_or_made_up_is_refused_by_name(tmp_path, family, keys, tensors, said):
    path = gguf_files.write(tmp_path / "m.gguf", gguf_files.model(family), keys, tensors)
    with pytest.raises(ModelError, match=said) as caught:
        load_model(path)
    assert str(caught.value).startswith(str(path))
    assert str(caught.value).count("\n") <= 1
    assert list((tmp_path / "cache" / "models").iterdir()) == []


def test_rotary_positions_of_a_part_of_each_head_are_refused(tmp_path):
    path = gguf_files.write(tmp_path / "m.gguf", gguf_files.model("llama"), {"rope.dimension_count": 4})
    with pytest.raises(ModelError, match=r"the key llama\.rope\.dimension_count = 4 is not the 8 of each head"):
        load_model(path)


def test_a_family_that_is_not_read_is_refused_by_name(tmp_path):
    path = gguf_files.write_file(tmp_path / "m.gguf", "mamba", gguf_files.TOKENIZER, {})
    with pytest.raises(ModelError, match=r"the architecture 'mamba' is not read from GGUF \(known: llama"):
        load_model(path)


def test_the_other_byte_order_is_refused(tmp_path):
    module = gguf_files.model("llama")
    path = gguf_files.write(tmp_path / "m.gguf", module, endianess=GGUFEndian.BIG)
    with pytest.raises(ModelError, match=r"the byte order of the file is not that of this machine \(big-endian\)"):
        load_model(path)


@pytest.mark.parametrize("epsilon", [-1e-5, 0.0, 1e30, float("nan")])
def test_an_epsilon_that_no_norm_has(tmp_path, epsilon):
    keys = {"attention.layer_norm_rms_epsilon": epsilon}
    path = gguf_files.write(tmp_path / "m.gguf", tiny_module("llama"), keys)
    with pytest.raises(ModelError, match=r"layer_norm_rms_epsilon = .* must be between 0 and 1"):
        load_model(path)
