"""The two sub-layers of a block, found by running it: for each family, and for blocks made to mislead."""

from collections.abc import Callable
from types import MethodType

import pytest
import torch
from torch import nn

from layerscope.errors import ModelError
from layerscope.models.loading import wrap_module
from layerscope.models.model import Model
from layerscope.models.sublayers import find_sublayers
from tests.families import ENCODERS, FAMILIES, tiny_model, tiny_module

# The part whose output is added: after the norm that gemma and olmo2 put behind it, before the residual that bloom and BERT add.
EXPECTED = {
    "gpt_neox": ("attention", "mlp"),
    "gpt2": ("attn", "mlp"),
    "gemma2": ("post_attention_layernorm", "post_feedforward_layernorm"),
    "gemma3_text": ("post_attention_layernorm", "post_feedforward_layernorm"),
    "olmo2": ("post_attention_layernorm", "post_feedforward_layernorm"),
    "bloom": ("self_attention.dense", "mlp.dense_4h_to_h"),
    "falcon": ("self_attention", "mlp"),
    "opt": ("self_attn", "fc2"),
    "distilbert": ("attention", "ffn"),
    **dict.fromkeys(("bert", "roberta", "electra"), ("attention.output.dense", "output.dense")),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_sublayers_of_each_family(family):
    found = find_sublayers(tiny_model(family))
    assert {(one.attn.part.path, one.mlp.part.path) for one in found} == {EXPECTED.get(family, ("self_attn", "mlp"))}
    assert {one.law for one in found} == {"post_norm" if family in ENCODERS else "sum"}
    assert {(one.attn.scale, one.mlp.scale) for one in found} == {(1.0, 1.0)}


def test_finding_them_leaves_the_model_as_it_was():
    model = wrap_module(tiny_module("falcon"), name="tiny")  # its block adds to the output of its MLP in place
    before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    find_sublayers(model)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.module.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.module.modules())


# Blocks made to mislead: a llama whose decoder layers run another forward


def altered(change: Callable[[nn.Module], None]) -> Model:
    """Return a tiny llama with every block changed; the blocks still carry one stream."""
    model = wrap_module(tiny_module("llama"), name="tiny")
    for block in model.blocks:
        change(block)
    return model


def with_forward(forward: Callable[..., torch.Tensor]) -> Callable[[nn.Module], None]:
    return lambda block: setattr(block, "forward", MethodType(forward, block))


def test_outputs_times_a_constant():
    def granite(self: nn.Module, hidden_states: torch.Tensor, **others: object) -> torch.Tensor:
        stream = hidden_states + self.self_attn(hidden_states=self.input_layernorm(hidden_states), **others)[0] * 0.22
        return stream + self.mlp(self.post_attention_layernorm(stream)) * -3.5

    found = find_sublayers(altered(with_forward(granite)))
    for one in found:
        assert (one.attn.part.path, one.mlp.part.path) == ("self_attn", "mlp")
        assert (one.attn.scale, one.mlp.scale) == (pytest.approx(0.22, rel=1e-5), pytest.approx(-3.5, rel=1e-5))


def test_an_mlp_that_comes_before_the_attention():
    def exchanged(self: nn.Module, hidden_states: torch.Tensor, **others: object) -> torch.Tensor:
        stream = hidden_states + self.mlp(self.post_attention_layernorm(hidden_states))
        return stream + self.self_attn(hidden_states=self.input_layernorm(stream), **others)[0]

    found = find_sublayers(altered(with_forward(exchanged)))
    assert {(one.attn.part.path, one.mlp.part.path) for one in found} == {("self_attn", "mlp")}


def test_blocks_of_two_kinds():
    model = wrap_module(tiny_module("llama"), name="tiny")
    block = model.blocks[2]
    block.mixer = block.self_attn
    del block.self_attn

    def hybrid(self: nn.Module, hidden_states: torch.Tensor, **others: object) -> torch.Tensor:
        stream = hidden_states + self.mixer(hidden_states=self.input_layernorm(hidden_states), **others)[0]
        return stream + self.mlp(self.post_attention_layernorm(stream))

    block.forward = MethodType(hybrid, block)
    assert [one.attn.part.path for one in find_sublayers(model)] == ["self_attn", "self_attn", "mixer", "self_attn"]


def test_an_ablated_attention_is_known_by_the_other_blocks():
    model = wrap_module(tiny_module("llama"), name="tiny")
    model.blocks[1].self_attn.o_proj.weight.data.zero_()
    assert {(one.attn.part.path, one.mlp.part.path) for one in find_sublayers(model)} == {("self_attn", "mlp")}


def test_one_sublayer_is_refused():
    def state_space(self: nn.Module, hidden_states: torch.Tensor, **others: object) -> torch.Tensor:
        return hidden_states + self.self_attn(hidden_states=self.input_layernorm(hidden_states), **others)[0]

    with pytest.raises(ModelError, match=r"no two parts of a block .* add up to what the block adds") as error:
        find_sublayers(altered(with_forward(state_space)))
    assert "--streams resid" in str(error.value)


def test_three_sublayers_are_refused():
    def three(self: nn.Module, hidden_states: torch.Tensor, **others: object) -> torch.Tensor:
        stream = hidden_states + self.self_attn(hidden_states=self.input_layernorm(hidden_states), **others)[0]
        stream = stream + self.post_attention_layernorm(stream)
        return stream + self.mlp(self.post_attention_layernorm(stream))

    with pytest.raises(ModelError, match="no two parts of a block"):
        find_sublayers(altered(with_forward(three)))


def test_an_mlp_that_reads_other_tokens_is_refused():
    def shifted(self: nn.Module, hidden_states: torch.Tensor, **others: object) -> torch.Tensor:
        stream = hidden_states + self.self_attn(hidden_states=self.input_layernorm(hidden_states), **others)[0]
        return stream + self.mlp(self.post_attention_layernorm(stream).roll(1, dims=1))

    with pytest.raises(ModelError, match=r"of (self_attn and mlp|mlp and self_attn), both read other tokens"):
        find_sublayers(altered(with_forward(shifted)))


def test_a_model_without_attention_is_refused():
    def ablate(block: nn.Module) -> None:
        block.self_attn.v_proj.weight.data.zero_()
        block.self_attn.o_proj.bias = nn.Parameter(torch.full((32,), 0.1))

    with pytest.raises(ModelError, match="neither read other tokens"):
        find_sublayers(altered(ablate))


def test_a_constant_that_fits_one_text_is_refused():
    def depends_on_the_text(self: nn.Module, hidden_states: torch.Tensor, **others: object) -> torch.Tensor:
        stream = hidden_states + self.self_attn(hidden_states=self.input_layernorm(hidden_states), **others)[0]
        return stream + self.mlp(self.post_attention_layernorm(stream)) * hidden_states[0, 0, 0]

    with pytest.raises(ModelError, match="account for block 0 on one text only"):
        find_sublayers(altered(with_forward(depends_on_the_text)))


def test_states_that_are_not_finite_are_refused():
    model = wrap_module(tiny_module("llama"), name="tiny")
    model.blocks[0].mlp.down_proj.weight.data.fill_(float("inf"))
    with pytest.raises(ModelError, match="not finite"):
        find_sublayers(model)
