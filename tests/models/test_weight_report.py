"""Every stored weight is used, harmless by a rule, or a reason to refuse the model, and the message names it."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import layerscope as ls
from layerscope.errors import ModelError
from tests.families import tiny_module
from tests.tokenizers import word_tokenizer


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return tmp_path_factory.mktemp("made")


@pytest.fixture
def stored(made, tmp_path):
    """A function: the folder of a tiny model of a family, and its weights changed by a function of the state dict."""

    def store(family, change=lambda state: state, config=None, **changes):
        origin = made / f"{family}{changes}"
        if not origin.exists():
            tiny_module(family, **changes).save_pretrained(origin)
            word_tokenizer().save_pretrained(origin)
        folder = shutil.copytree(origin, tmp_path / family)
        weights = folder / "model.safetensors"
        save_file(change(load_file(weights)), weights, metadata={"format": "pt"})
        settings = folder / "config.json"
        settings.write_text(json.dumps(json.loads(settings.read_text()) | (config or {})))
        return folder

    return store


def refusal(folder):
    with pytest.raises(ModelError) as error:
        ls.load_model(folder)
    message = str(error.value)
    assert message.count("\n") == 1
    return message


def without(*parts):
    return lambda state: {name: value for name, value in state.items() if not any(part in name for part in parts)}


def plus(**tensors):
    return lambda state: state | {name.replace("__", "."): value for name, value in tensors.items()}


def renamed(old, new):
    return lambda state: {name.replace(old, new): value for name, value in state.items()}


# Refused


def test_biases_that_the_configuration_denies(stored):
    folder = stored("llama", attention_bias=True, config={"attention_bias": False})
    assert refusal(folder) == (
        "llama: the weights are not those of the model that config.json describes: 16 not used "
        "(model.layers.*.self_attn.k_proj.bias (4), model.layers.*.self_attn.o_proj.bias (4), "
        "model.layers.*.self_attn.q_proj.bias (4), model.layers.*.self_attn.v_proj.bias (4)).\n"
        "Correct config.json, or fetch the model again: its states would be wrong."
    )


FAULTS = {
    "missing": (without("layers.2.mlp.up_proj"), "1 missing (model.layers.2.mlp.up_proj.weight)"),
    "no final norm": (without("model.norm"), "1 missing (model.norm.weight)"),
    "no head": (without("lm_head"), "1 missing (lm_head.weight)"),
    "no embedding": (without("embed_tokens"), "1 missing (model.embed_tokens.weight)"),
    "FP8 scales": (
        lambda state: state | {f"{name}_scale_inv": torch.ones(1) for name in state if "mlp" in name},
        "12 not used (model.layers.*.mlp.down_proj.weight_scale_inv (4), ",
    ),
    "LoRA": (
        plus(model__layers__1__self_attn__q_proj__lora_A__weight=torch.ones(2, 32)),
        "1 not used (model.layers.1.self_attn.q_proj.lora_A.weight)",
    ),
    "one block too many": (
        lambda state: state | {name.replace("layers.3", "layers.4"): value.clone() for name, value in state.items()},
        "9 not used (model.layers.4.input_layernorm.weight, ",
    ),
    "query norms of another family": (
        plus(model__layers__0__self_attn__q_norm__weight=torch.ones(8)),
        "1 not used (model.layers.0.self_attn.q_norm.weight)",
    ),
    "prefix of torch.compile": (renamed("model.", "_orig_mod.model."), "missing ("),
    "prefix of another architecture": (
        renamed("model.layers", "transformer.h"),
        "36 missing (model.layers.*.input_layernorm",
    ),
    "another shape": (
        lambda state: state | {"model.norm.weight": torch.ones(31)},
        "1 of another shape (model.norm.weight)",
    ),
    "integers": (
        lambda state: state | {"model.layers.0.mlp.up_proj.weight": torch.ones(64, 32, dtype=torch.int8)},
        "weights are stored as integers (model.layers.0.mlp.up_proj.weight), and config.json has no quantization_config",
    ),
    "two numbers packed into one": (
        lambda state: state | {"model.layers.0.mlp.up_proj.weight": torch.ones(64, 16, dtype=torch.int16)},
        "weights are stored as integers (model.layers.0.mlp.up_proj.weight), and config.json has no quantization_config",
    ),
    "two faults": (
        lambda state: renamed("layers.3.mlp.up_proj", "layers.3.mlp.upper")(state),
        "1 missing (model.layers.3.mlp.up_proj.weight); 1 not used (model.layers.3.mlp.upper.weight)",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_weights_of_another_model(stored, fault):
    change, said = FAULTS[fault]
    assert said in refusal(stored("llama", change))


def test_the_same_for_bin_files(stored):
    folder = stored("llama", without("layers.2.mlp.up_proj"))
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert "1 missing (model.layers.2.mlp.up_proj.weight)" in refusal(folder)


# Buffers that the model computes


def frequencies(theta=10_000.0, width=8):
    return 1 / theta ** (torch.arange(0, width, 2) / width)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_stored_frequencies_that_the_model_computes_too(stored, dtype):
    change = plus(model__layers__0__self_attn__rotary_emb__inv_freq=frequencies().to(dtype))
    assert ls.load_model(stored("llama", change)).depth == 4


def test_stored_frequencies_before_scaling(stored):
    scaling = {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0}
    change = plus(model__layers__0__self_attn__rotary_emb__inv_freq=frequencies())
    assert ls.load_model(stored("llama", change, {"rope_parameters": scaling})).context == 256


@pytest.mark.parametrize("values", [frequencies(20_000.0), frequencies() / 4, torch.ones(4), frequencies(width=16)])
def test_stored_frequencies_that_differ(stored, values):
    folder = stored("llama", plus(model__layers__0__self_attn__rotary_emb__inv_freq=values))
    assert "rotary_emb.inv_freq is not what the model computes from config.json" in refusal(folder)


MASKS = {
    "gpt2": ("transformer.h.0.attn", torch.ones(64, 64).tril().bool()[None, None]),
    "gpt_neox": ("gpt_neox.layers.0.attention", torch.ones(64, 64).tril().to(torch.uint8)[None, None]),
}


@pytest.mark.parametrize("family", MASKS)
def test_causal_masks_of_old_checkpoints(stored, family):
    path, mask = MASKS[family]
    old = {f"{path}.bias": mask, f"{path}.masked_bias": torch.tensor(-1e9)}
    assert ls.load_model(stored(family, lambda state: state | old)).depth == 4


@pytest.mark.parametrize("family", MASKS)
def test_masks_that_are_not_causal(stored, family):
    path, mask = MASKS[family]
    folder = stored(family, lambda state: state | {f"{path}.bias": torch.ones_like(mask)})
    assert f"the stored {path}.bias is not what the model computes" in refusal(folder)


@pytest.mark.parametrize(("ids", "right"), [(torch.arange(64)[None], True), (torch.arange(64).flip(0)[None], False)])
def test_stored_position_ids(stored, ids, right):
    folder = stored("bert", plus(bert__embeddings__position_ids=ids))
    if right:
        assert ls.load_model(folder).depth == 4
    else:
        assert "position_ids is not what the model computes" in refusal(folder)


# Tied weights


def test_a_tied_head_may_be_stored_when_it_is_equal(stored):
    folder = stored("gpt2", lambda state: state | {"lm_head.weight": state["transformer.wte.weight"].clone()})
    assert ls.load_model(folder).depth == 4


@pytest.mark.parametrize("family", ["gpt2", "gemma2"])
def test_a_tied_head_that_differs_is_refused(stored, family):
    def change(state):
        embedding = next(value for name, value in state.items() if "wte" in name or "embed_tokens" in name)
        return state | {"lm_head.weight": embedding + 1}

    assert "config.json ties the head to the embedding, and the weights have different values" in refusal(
        stored(family, change)
    )


# Heads that a capture does not run


@pytest.mark.parametrize(
    ("family", "classes", "change", "said"),
    [
        ("bert", "BertModel", lambda state: state, r"7 weights of heads .*cls.predictions.*pooler.dense.bias"),
        ("bert", "BertForMaskedLM", without("cls.predictions.transform"), r"4 weights of heads .*cls.predictions"),
        ("roberta", "RobertaModel", lambda state: state, r"heads .*lm_head.*pooler"),
        ("distilbert", "DistilBertModel", lambda state: state, r"heads .*vocab_projector.*vocab_transform"),
        ("electra", "ElectraModel", lambda state: state, r"heads .*generator_"),
        ("llama", "LlamaModel", lambda state: state, r"1 weights of heads .*\(lm_head.weight\)"),
    ],
)
def test_idle_heads_are_said(stored, family, classes, change, said):
    folder = stored(family, change, {"architectures": [classes]})
    with pytest.warns(UserWarning, match=said):
        model = ls.load_model(folder)
    saved = load_file(folder / "model.safetensors")
    assert isinstance(model.module, nn.Module)
    prefix = tiny_module(family).base_model_prefix
    for name, value in model.trunk.state_dict().items():
        if "pooler" not in name:
            assert torch.equal(value, saved[f"{prefix}.{name}"])


def test_a_head_of_a_decoder_is_not_idle(stored):
    folder = stored("llama", plus(score__weight=torch.ones(2, 32)))
    assert "1 not used (score.weight)" in refusal(folder)
