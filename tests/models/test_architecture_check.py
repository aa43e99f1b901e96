"""The architecture check passes for every family and refuses every wrong row."""

from dataclasses import replace

import pytest
import torch
import transformers as tf
from torch import nn

from layerscope.errors import ModelError
from layerscope.models.architecture_check import check_architecture
from layerscope.models.architectures import ARCHITECTURES
from layerscope.models.loading import wrap_module
from layerscope.models.model import Model
from tests.families import DEPTH, FAMILIES, VOCABULARY, tiny_module

NO_SDPA = ("gemma2", "bloom")  # these families' code in transformers is eager only


def model_with(family: str, module: nn.Module | None = None, **facts: object) -> Model:
    """Return an unproved model whose row has some facts changed."""
    module = tiny_module(family) if module is None else module
    return Model(module.eval(), None, f"tiny-{family}", replace(ARCHITECTURES[family], **facts))


def refusal(model: Model) -> str:
    with pytest.raises(ModelError) as error:
        check_architecture(model)
    return str(error.value)


# Right rows


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_row_is_proved(family, attention, dtype):
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
    check_architecture(Model(module, None, "tiny", ARCHITECTURES["gpt2"]))
    with pytest.raises(ModelError):
        check_architecture(Model(module, None, "tiny", replace(ARCHITECTURES["gpt2"], causal=False)))
    assert before == [(name, sorted(vars(part)), part.training) for name, part in module.named_modules()]
    hooks = [hooks for part in module.modules() for name, hooks in vars(part).items() if "hooks" in name]
    assert not any(hooks)


# Wrong rows

WRONG_BLOCKS = {
    ("llama", "no.such.list"): "LlamaModel has no attribute `no`",
    ("llama", "norm"): "there are no blocks in 'norm'",
    ("llama", ""): "one forward pass ran 3 blocks, the table lists 4",
    ("llama", "layers.1.self_attn"): "block 1 does not read the output of block 0",
    ("llama", "layers.1.mlp"): "another order than listed in the table: [0, 3, 1, 2]",
    ("gpt2", "h.3.mlp"): "another order than listed in the table: [0, 2, 1, 3]",
    ("bert", "encoder.layer.3"): "block 0 returns a tuple, unlike in the table",
    ("bert", "encoder.layer.3.intermediate"): "state 1 has the shape (1, 7, 64), not 7 tokens of 32 features",
    ("bert", "encoder.layer.0.output"): "another order than listed in the table: [0, 2, 1]",
    ("roberta", "encoder.layer.3.attention.self"): "one forward pass ran 3 blocks, the table lists 4",
    ("bert", "embeddings"): "another order than listed in the table",
    ("distilbert", "transformer.layer.0.ffn"): "another order than listed in the table",
}


@pytest.mark.parametrize(("family", "blocks"), WRONG_BLOCKS)
def test_a_wrong_list_of_blocks(family, blocks):
    assert WRONG_BLOCKS[family, blocks] in refusal(model_with(family, blocks=blocks))


@pytest.mark.parametrize(
    ("family", "part", "why"),
    [
        ("llama", slice(2, None), "state 0 of a token depends on other tokens, so blocks run before part.0"),
        ("bert", slice(1, None), "state 0 of a token depends on other tokens, so blocks run before part.0"),
        ("llama", slice(0, 2), "norm does not read the last block's output"),
        ("bert", slice(0, 3), "something follows the last block, the table has final_norm=None"),
        ("llama", slice(None, None, 2), "block 1 does not read the output of block 0"),
        ("llama", slice(None, None, -1), "another order than listed in the table: [3, 2, 1, 0]"),
    ],
)
def test_a_list_of_only_some_blocks_or_in_another_order(family, part, why):
    module = tiny_module(family)
    blocks = Model(module, None, family, ARCHITECTURES[family]).blocks
    module.base_model.part = nn.ModuleList(blocks[part])
    assert why in refusal(model_with(family, module, blocks="part"))


def test_a_list_that_names_a_block_twice():
    module = tiny_module("llama")
    module.model.part = nn.ModuleList([*module.model.layers, module.model.layers[0]])
    # `children` names a module once, so this is the list as it should be.
    check_architecture(model_with("llama", module, blocks="part"))


@pytest.mark.parametrize("family", ["llama", "bloom", "falcon", "bert"])
def test_a_wrong_kind_of_output(family):
    right = ARCHITECTURES[family].tuple_output
    said = refusal(model_with(family, tuple_output=not right))
    assert f"block 0 returns a {'tuple' if right else 'Tensor'}, unlike in the table" in said


@pytest.mark.parametrize(
    ("family", "final_norm", "why"),
    [
        ("llama", None, "something follows the last block, the table has final_norm=None"),
        ("llama", "layers.3.input_layernorm", "layers.3.input_layernorm does not read the last block's output"),
        ("llama", "layers.3.self_attn", "layers.3.self_attn does not read the last block's output"),
        ("llama", "layers", "layers does not read the last block's output"),  # a list that is never run
        ("llama", "no_norm", "'LlamaModel' object has no attribute 'no_norm'"),
        ("gpt2", "wte", "wte does not read the last block's output"),
        ("bert", "embeddings.LayerNorm", "embeddings.LayerNorm does not read the last block's output"),
    ],
)
def test_a_wrong_final_norm(family, final_norm, why):
    assert why in refusal(model_with(family, final_norm=final_norm))


def test_a_pooler_is_no_final_norm():
    module = VARIANTS["encoder without a head"]()
    said = refusal(model_with("bert", module, final_norm="pooler"))
    assert "pooler does not return a tensor of the shape of a state" in said


@pytest.mark.parametrize("family", ["llama", "gemma3_text", "bloom", "bert", "electra"])
def test_a_wrong_direction(family):
    right = ARCHITECTURES[family].causal
    said = refusal(model_with(family, causal=not right))
    assert f"an earlier token {'never sees' if right else 'sees'} a later one, the table has causal={not right}" in said


class Passing(nn.Module):
    def forward(self, hidden_states, **_):
        return hidden_states


class Wrapping(nn.Module):
    """A block that takes and gives what no table can describe."""

    def __init__(self, block, give):
        super().__init__()
        self.block, self.give = block, give

    def forward(self, hidden_states, **kwargs):
        return self.give(self.block(hidden_states, **kwargs))


class Outer(nn.Module):
    """A block around an inner one that takes and gives the stream in a way of its own."""

    def __init__(self, block, inner, name, unpack):
        super().__init__()
        self.inner, self.name, self.unpack = inner(block), name, unpack

    def forward(self, hidden_states, **kwargs):
        return self.unpack(self.inner(**{self.name: hidden_states}, **kwargs))


class Renaming(Wrapping):
    def forward(self, stream, **kwargs):
        return super().forward(stream, **kwargs)


@pytest.mark.parametrize(
    ("inner", "name", "unpack", "why"),
    [
        (
            lambda block: Renaming(block, lambda output: output),
            "stream",
            lambda output: output,
            "block 0 takes no hidden_states, but stream, ",
        ),
        (
            lambda block: Wrapping(block, lambda output: {"stream": output}),
            "hidden_states",
            lambda output: output["stream"],
            "block 0 passes on a dict, not a tensor",
        ),
    ],
)
def test_blocks_whose_stream_cannot_be_found(inner, name, unpack, why):
    module = tiny_module("llama")
    layers = [Outer(layer, inner, name, unpack) for layer in module.model.layers]
    module.model.layers = nn.ModuleList(layers)
    module.model.part = nn.ModuleList([layer.inner for layer in layers])
    assert why in refusal(model_with("llama", module, blocks="part"))


# Ablated models: what the weights hold is no fact about the table


@pytest.mark.parametrize("blocks", [[0], [2], [3], [0, 1, 2, 3]])
@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_whose_weights_are_zero_load(family, blocks):
    model = model_with(family)
    for block in blocks:
        for parameter in model.blocks[block].parameters():
            parameter.data.zero_()
    check_architecture(model)


def test_blocks_that_pass_the_stream_on_load():
    module = tiny_module("llama")
    for block in range(DEPTH):
        module.model.layers[block] = Passing()
    check_architecture(model_with("llama", module))


@pytest.mark.parametrize("part", ["lm_head", "model.norm", "model.embed_tokens"])
def test_a_part_whose_weights_are_zero_loads(part):
    module = tiny_module("llama")
    module.get_submodule(part).weight.data.zero_()
    check_architecture(model_with("llama", module))


class Twice(nn.Module):
    """A block that computes its output twice: what the listed module gives is thrown away."""

    def __init__(self, block):
        super().__init__()
        self.listed, self.block = block, Wrapping(block.forward, lambda output: output)

    def forward(self, hidden_states, **kwargs):
        self.listed(hidden_states, **kwargs)
        return self.block(hidden_states, **kwargs)


@pytest.mark.parametrize("twice", [range(DEPTH), [0], [2], [DEPTH - 1]])
def test_blocks_that_do_not_carry_the_stream(twice):
    """Values that agree are not enough."""
    module = tiny_module("llama")
    for block in twice:
        module.model.layers[block] = Twice(module.model.layers[block])
    module.model.part = nn.ModuleList(getattr(layer, "listed", layer) for layer in module.model.layers)
    why = refusal(model_with("llama", module, blocks="part"))
    last = f"block {twice[0] + 1} does not read the output of block {twice[0]} after it is replaced"
    assert (last if twice[0] < DEPTH - 1 else "norm does not read the last block's output") in why


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_an_encoder_without_attention_loads_and_a_causal_one_does_not(family):
    module = tiny_module(family)
    for name, parameter in module.named_parameters():
        if "attention" in name:
            parameter.data.zero_()
    check_architecture(model_with(family, module))


# Compiled and quantised models


COMPILING = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch imports its compiler


@COMPILING
def test_a_compiled_model_is_the_model():
    module = tiny_module("llama")
    assert wrap_module(torch.compile(module), name="compiled").module is module


@COMPILING
@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda module: module.compile(), "the module"),
        (lambda module: module.model.layers[1].mlp.compile(), "model.layers.1.mlp"),
        (
            lambda module: module.model.layers.__setitem__(1, torch.compile(module.model.layers[1])),
            "model.layers.1",
        ),
    ],
)
def test_compiled_parts_are_refused_by_name(change, named):
    module = tiny_module("llama")
    change(module)
    assert refusal(model_with("llama", module)) == (
        f"tiny-llama: {named} is compiled (torch.compile), and a compiled graph shows no block.\n"
        "Give the module before it is compiled."
    )


class Int8Linear(nn.Module):
    """A linear layer with weights of 8 bits, whose inputs are rounded with one scale for the whole batch."""

    def __init__(self, linear):
        super().__init__()
        self.scale = float(linear.weight.data.abs().max()) / 127
        weight = (linear.weight.data / self.scale).round().to(torch.int8)
        self.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, inputs):
        scale = inputs.abs().max() / 7
        return (inputs / scale).round() * scale @ (self.weight.float() * self.scale).T


def test_a_quantised_model_is_not_blamed_on_the_table():
    module = tiny_module("llama")
    module.model.layers[1].mlp.down_proj = Int8Linear(module.model.layers[1].mlp.down_proj)
    said = refusal(model_with("llama", module, tuple_output=True))
    assert (
        "the weights are quantised (model.layers.1.mlp.down_proj: Int8Linear), and the check of the blocks fails"
        in said
    )
    assert said.endswith("Give the plain model, not quantised.")


def test_a_block_that_is_not_what_it_was_at_the_next_call():
    module = tiny_module("llama")
    calls = []

    def stateful(output):
        calls.append(None)
        return output + 1e-5 * len(calls)

    module.model.layers[1] = Wrapping(module.model.layers[1], stateful)
    assert "replaying the blocks from state 0 does not give the model's own output" in refusal(
        model_with("llama", module)
    )


def test_a_refusal_says_where_and_what_to_do():
    assert refusal(model_with("llama", causal=False)) == (
        "tiny-llama: the architecture table is wrong for this llama model: "
        "an earlier token never sees a later one, the table has causal=False.\n"
        "Correct its row in layerscope/models/architectures.py (docs/extending.md), or report the model."
    )


# Weights


@pytest.mark.parametrize(
    ("family", "parameter", "value", "kind"),
    [
        ("llama", "model.layers.1.mlp.up_proj.weight", float("nan"), "NaN"),
        ("llama", "model.embed_tokens.weight", float("nan"), "NaN"),  # in the row of a token that the check never runs
        ("gpt2", "transformer.h.0.ln_1.bias", float("inf"), "Inf"),
        ("opt", "model.decoder.layers.2.fc1.bias", -float("inf"), "Inf"),  # the relu behind it hides it
        ("bert", "cls.predictions.bias", float("nan"), "NaN"),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_that_are_not_finite(family, parameter, value, kind, dtype):
    module = tiny_module(family).to(dtype)
    module.get_parameter(parameter).data.view(-1)[-1] = value
    assert refusal(model_with(family, module)) == (
        f"tiny-{family}: the weights contain {kind}, first in {parameter}. The checkpoint is damaged: fetch it again."
    )


def test_a_parameter_without_values_is_no_harm():
    module = tiny_module("llama")
    module.model.empty = nn.Parameter(torch.empty(0))
    check_architecture(model_with("llama", module))


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
    model = model_with(family, module)
    check_architecture(model)
    assert not model.trunk(torch.arange(5, 12)[None]).last_hidden_state.isfinite().all()
