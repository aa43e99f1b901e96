"""The proof passes for every family, whatever the weights are, and refuses every wrong guess."""

from types import SimpleNamespace

import pytest
import torch
import transformers as tf
from torch import nn

from layerscope.errors import ModelError
from layerscope.models.discovery.places import Place
from layerscope.models.discovery.streams import StreamPlaces
from layerscope.models.loading import wrap_module
from layerscope.models.proof.prove import prove
from tests.families import DEPTH, FAMILIES, VOCABULARY, tiny_module
from tests.families.tiny_modules import random_module
from tests.models.proof.evidence import evidence_of, refusal

NO_SDPA = ("gemma2", "bloom")  # these families' code in transformers is eager only

# What is right


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_proved(family, attention, dtype):
    module = tiny_module(family).to(dtype)
    if not (attention == "sdpa" and family in NO_SDPA) and family != "falcon":
        module.set_attn_implementation(attention)
    elif family == "falcon":  # chooses when it is made, not later
        module = type(module)._from_config(module.config, attn_implementation=attention).to(dtype)
    model = wrap_module(module, name=f"tiny-{family}")
    assert model.config._attn_implementation == ("eager" if family in NO_SDPA else attention)
    assert model.depth == DEPTH
    assert model.dtype == dtype


SIZE = {"hidden_size": 32, "num_attention_heads": 4, "vocab_size": VOCABULARY}
VARIANTS = {
    "one block": lambda: tf.LlamaForCausalLM(tf.LlamaConfig(**SIZE, num_hidden_layers=1, intermediate_size=64)),
    "without a head": lambda: tf.LlamaModel(tf.LlamaConfig(**SIZE, num_hidden_layers=2, intermediate_size=64)),
    "encoder without a head": lambda: tf.BertModel(tf.BertConfig(**SIZE, num_hidden_layers=2, intermediate_size=64)),
    "without a pooler": lambda: tf.BertModel(
        tf.BertConfig(**SIZE, num_hidden_layers=2, intermediate_size=64), add_pooling_layer=False
    ),
    "sequential": lambda: tf.GPTNeoXForCausalLM(
        tf.GPTNeoXConfig(**SIZE, num_hidden_layers=2, intermediate_size=64, use_parallel_residual=False)
    ),
    "alibi": lambda: tf.FalconForCausalLM(tf.FalconConfig(**SIZE, num_hidden_layers=2, alibi=True, multi_query=False)),
    "projected, without a norm": lambda: tf.OPTForCausalLM(
        tf.OPTConfig(**SIZE, num_hidden_layers=2, ffn_dim=64, word_embed_proj_dim=16, do_layer_norm_before=False)
    ),
    "projected": lambda: tf.OPTForCausalLM(
        tf.OPTConfig(**SIZE, num_hidden_layers=2, ffn_dim=64, word_embed_proj_dim=16)
    ),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_within_a_family_are_proved(variant):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        wrap_module(VARIANTS[variant](), name=variant)


def test_the_model_is_left_as_it_was():
    module = tiny_module("gpt2").train()
    before = [(name, sorted(vars(part)), part.training) for name, part in module.named_modules()]
    wrap_module(module, name="tiny")
    assert "final norm" in refusal(module, final_norm=None)
    assert before == [(name, sorted(vars(part)), part.training) for name, part in module.named_modules()]
    hooks = [hooks for part in module.modules() for name, hooks in vars(part).items() if "hooks" in name]
    assert not any(hooks)


class Passing(nn.Module):
    def forward(self, hidden_states, **_):
        return hidden_states


@pytest.mark.parametrize("blocks", [[0], [2], [3], [0, 1, 2, 3]])
@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_whose_weights_are_zero_load(family, blocks):
    evidence = evidence_of(tiny_module(family))
    for block in blocks:
        for parameter in evidence.model.blocks[block].parameters():
            parameter.data.zero_()
    prove(evidence_of(evidence.model.module))


def test_blocks_that_pass_the_stream_on_load():
    module = tiny_module("llama")
    for block in range(DEPTH):
        module.model.layers[block] = Passing()
    prove(evidence_of(module))


@pytest.mark.parametrize("part", ["lm_head", "model.norm", "model.embed_tokens"])
def test_a_part_whose_weights_are_zero_loads(part):
    module = tiny_module("llama")
    module.get_submodule(part).weight.data.zero_()
    prove(evidence_of(module))


@pytest.mark.parametrize(
    ("family", "weights"),
    [
        ("llama", ("layers.1.mlp.up_proj.weight", "layers.1.mlp.down_proj.weight")),
        ("bert", ("encoder.layer.1.intermediate.dense.weight", "encoder.layer.1.output.dense.weight")),
    ],
)
def test_finite_weights_that_overflow_are_left_to_the_capture(family, weights):
    module = tiny_module(family).half()
    for name in weights:
        weight = module.base_model.get_parameter(name).data
        weight.div_(weight.abs().max()).mul_(60_000)
    prove(evidence_of(module))


# What is wrong

ITEMS = {"items": (0, 1, 2)}
WRONG = {
    "blocks left out at the end": ({"items": (0, 1)}, "norm (what follows the last block is"),
    "blocks left out at the start": ({"items": (2, 3)}, "a state 0 of each token alone"),
    "every second block": ({"items": (0, 2)}, "block 1 does not read the output of block 0"),
    "another order": (
        {"items": (3, 2, 1, 0)},
        "one run of each block, in the order of the list (they ran as 3, 2, 1, 0)",
    ),
    "another list": ({"blocks": "layers.1", "items": (0, 1)}, "a stream in the arguments and the output of block 0"),
    "another norm": ({"final_norm": "layers.3.input_layernorm"}, "the final norm layers.3.input_layernorm"),
    "no norm": ({"final_norm": None}, "the final norm None (what follows the last block is norm)"),
    "another place": (
        {"stream": StreamPlaces(Place((1, "attention_mask")), Place())},
        "a stream in the arguments and the output of block 0",
    ),
}


@pytest.mark.parametrize("guess", WRONG)
def test_a_wrong_guess_is_refused(guess):
    facts, missing = WRONG[guess]
    assert missing in refusal(tiny_module("llama"), **facts)


def test_a_refusal_says_what_was_seen_and_what_was_missing():
    assert refusal(tiny_module("llama"), items=(0, 1, 2)) == (
        "tiny: this model is refused. Seen: 3 blocks of a llama model in model.layers, then norm.\n"
        "Missing: the final norm norm (what follows the last block is layers.3)."
    )


def test_quantised_weights_are_named():
    module = tiny_module("llama")
    module.config.quantization_config = SimpleNamespace(quant_method="gptq")
    said = refusal(module, final_norm=None)
    assert said.startswith("tiny: the weights are quantised (gptq), and the proof of the blocks fails: ")
    assert said.endswith("Give the plain model, not quantised.")


def test_blocks_that_reuse_the_keys_of_another_block_are_refused_by_both_numbers():
    with pytest.raises(ModelError) as error:
        wrap_module(random_module("gemma4_text", num_kv_shared_layers=2), name="tiny")
    assert str(error.value) == (
        "tiny: this model is refused. Seen: 4 blocks of a gemma4_text model in model.layers, then norm.\n"
        "Missing: blocks that share the stream alone (block 2 reads what block 0 writes into shared_kv_states)."
    )
