"""Keys of config.json that contradict each other, are impossible or are not read."""

import json
import warnings

import pytest

import layerscope as ls
from tests.families import FAMILIES, tiny_module
from tests.models.folders import change_json, refusal
from tests.tokenizers import word_tokenizer

NAN, INF = float("nan"), float("inf")
LINEAR = {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}


def said(folder) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ls.load_model(folder)
    messages = [str(warning.message) for warning in caught]
    return [message for message in messages if "`rope_scaling` is deprecated" not in message]  # of transformers


def folder_of(family, tmp_path, **changes):
    tiny_module(family).save_pretrained(tmp_path / family)
    word_tokenizer().save_pretrained(tmp_path / family)
    change_json(tmp_path / family / "config.json", **changes)
    return tmp_path / family


IMPOSSIBLE = {
    "rms_norm_eps -1": {"rms_norm_eps": -1},
    "rms_norm_eps nan": {"rms_norm_eps": NAN},
    "rms_norm_eps inf": {"rms_norm_eps": INF},
    "rope_theta 0.0": {"rope_theta": 0.0, "rope_parameters": None},
    "rope_theta -1.0": {"rope_theta": -1.0, "rope_parameters": None},
    "rope_theta inf": {"rope_parameters": {"rope_type": "default", "rope_theta": INF}},
    "factor 0": {"rope_parameters": LINEAR | {"factor": 0}},
    "factor nan": {"rope_scaling": {"type": "linear", "factor": NAN}},
    "short_factor 0.0": {"rope_scaling": {"type": "longrope", "short_factor": [1.0, 0.0]}},
}


@pytest.mark.parametrize("said", IMPOSSIBLE)
def test_impossible_numbers(tiny_folder, said):
    change_json(tiny_folder / "config.json", **IMPOSSIBLE[said])
    assert f"config.json has {said}: it must be a finite number" in refusal(tiny_folder)


@pytest.mark.parametrize(("family", "key"), [("gpt2", "layer_norm_epsilon"), ("bert", "layer_norm_eps")])
def test_impossible_numbers_by_the_name_that_the_family_uses(tmp_path, family, key):
    tiny_module(family).save_pretrained(tmp_path / family)
    change_json(tmp_path / family / "config.json", **{key: -1e-5})
    assert f"{key} -1e-05: it must be a finite number, 0 or more" in refusal(tmp_path / family)


@pytest.mark.parametrize(
    ("family", "key", "zero"),
    [
        ("gemma2", "attn_logit_softcapping", 0.0),
        ("gemma2", "final_logit_softcapping", 0.0),
        ("mistral", "sliding_window", 0),
    ],
)
def test_zero_where_null_means_none(tmp_path, family, key, zero):
    said = refusal(folder_of(family, tmp_path, **{key: zero}))
    assert f"config.json has {key} {zero}: it must be above 0, or null for none" in said


def test_a_forward_pass_that_fails_is_a_fault_of_the_configuration(tmp_path):
    folder = folder_of("llama", tmp_path, partial_rotary_factor=0.5, rope_parameters=LINEAR)
    with pytest.warns(UserWarning, match=r"partial_rotary_factor 0\.5, which llama models of transformers do not read"):
        said = refusal(folder)
    assert "RuntimeError: The size of tensor" in said
    assert said.endswith("a forward pass fails: correct its configuration")


CONTRADICTIONS = {
    "rope_theta 500000.0, and elsewhere rope_theta 10000.0": ("llama", {"rope_theta": 5e5}),
    "partial_rotary_factor 0.25, and elsewhere partial_rotary_factor 0.5": (
        "phi",
        {"partial_rotary_factor": 0.25, "rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}},
    ),
    "rotary_pct 1.0, and elsewhere partial_rotary_factor 0.25": (
        "gpt_neox",
        {"rotary_pct": 1.0, "rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.25}},
    ),
    "factor 2.0, and elsewhere factor 4.0": (
        "llama",
        {"rope_parameters": LINEAR, "rope_scaling": {"type": "linear", "factor": 4.0}},
    ),
    "type 'dynamic', and elsewhere rope_type 'linear'": (
        "llama",
        {"rope_parameters": None, "rope_scaling": LINEAR | {"type": "dynamic"}},
    ),
    "hidden_size 64 and n_embd 32": ("gpt2", {"hidden_size": 64}),
}


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_two_values_for_one_setting(tmp_path, what):
    family, changes = CONTRADICTIONS[what]
    tiny_module(family).save_pretrained(tmp_path / family)
    change_json(tmp_path / family / "config.json", **changes)
    said = refusal(tmp_path / family)
    assert "config.json has " in said
    assert said.endswith("remove the wrong one")


NOT_READ = [
    ("llama", "partial_rotary_factor", 0.5),
    ("llama", "sliding_window", 16),
    ("llama", "attn_logit_softcapping", 50.0),
    ("gpt2", "rope_theta", 1e4),
    ("gpt2", "alibi", True),
    ("bert", "position_embedding_type", "relative_key"),
    ("qwen2", "partial_rotary_factor", 0.5),
    ("opt", "sliding_window", 16),
    ("bert", "layer_types", ["full_attention", "sliding_attention"] * 2),
    ("olmo2", "hidden_activation", "gelu"),
    ("llama", "embedding_multiplier", 12.0),
]


@pytest.mark.parametrize(("family", "key", "value"), NOT_READ)
def test_keys_that_the_family_does_not_read_are_said(tmp_path, family, key, value):
    (warning,) = said(folder_of(family, tmp_path, **{key: value}))
    assert warning.startswith(f"{family}: config.json has {key} {repr(value)[:50]}")
    assert f", which {family} models of transformers do not read" in warning


HARMLESS = {
    "_name_or_path": "owner/name",
    "torch_dtype": "float16",
    "auto_map": {"AutoConfig": "configuration_x.Config"},
    "transformers.js_config": {"kv_cache_dtype": "fp16"},
    "_attn_implementation_autoset": True,
    "cache_implementation": "hybrid",
    "is_llama_config": True,
    "rope_interleaved": False,
    "rope_scaling": None,
    "position_embedding_type": "absolute",
    "partial_rotary_factor": 1.0,
    "sliding_window": None,
    "task_specific_params": {"text-generation": {"do_sample": True}},
    "unsloth_version": "2024.9",
    "pretraining_tp": 1,
    "gradient_checkpointing": False,
}


@pytest.mark.parametrize("family", FAMILIES)
def test_keys_without_effect_are_not_mentioned(tmp_path, family):
    own = {"gemma2": ["sliding_window"], "gemma3_text": ["sliding_window"]}  # keys with an effect in the family
    own |= {"phi": ["partial_rotary_factor"], "gpt_neox": ["partial_rotary_factor"]}
    others = {key: value for key, value in HARMLESS.items() if key not in own.get(family, [])}
    assert said(folder_of(family, tmp_path, **others)) == []


PUBLISHED = {  # the keys of well-known configurations that concern positions, windows, norms and activations
    "qwen2": {"sliding_window": 32768, "use_sliding_window": False, "max_window_layers": 28, "rope_theta": 1e4},
    "gemma2": {"hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh", "rope_theta": 1e4},
    "llama": {"rope_scaling": None, "rope_theta": 1e4, "mlp_bias": False, "pretraining_tp": 1},
    "gpt_neox": {"rotary_pct": 0.25, "rotary_emb_base": 10000, "use_parallel_residual": True},
    "phi": {"partial_rotary_factor": 0.5, "rope_theta": 1e4, "qk_layernorm": False},
    "mistral": {"sliding_window": 4096, "rope_theta": 1e4},
    "falcon": {"alibi": False, "bias": False, "parallel_attn": True, "rope_theta": 1e4},
    "bert": {"position_embedding_type": "absolute", "gradient_checkpointing": False, "use_cache": True},
}


@pytest.mark.parametrize("family", PUBLISHED)
def test_published_configurations_load_without_a_word(tmp_path, family):
    folder = folder_of(family, tmp_path)
    settings = json.loads((folder / "config.json").read_text())
    settings.pop("rope_parameters", None)
    (folder / "config.json").write_text(json.dumps(settings | PUBLISHED[family]))
    assert said(folder) == []
