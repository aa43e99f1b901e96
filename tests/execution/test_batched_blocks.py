"""The blocks of a stage as one batched call are the blocks one by one, up to rounding."""

import copy
import functools
from collections.abc import Callable
from dataclasses import replace

import accelerate
import peft
import pytest
import torch
import transformers
from transformers import DynamicCache, StaticCache

import layerscope as ls
from layerscope.execution import batched_blocks
from layerscope.execution.scheduled import scheduled
from layerscope.models.loading import wrap_module
from layerscope.models.model import Model
from tests.capturing.conformance import assert_as_it_was, batch, make_model, snapshot
from tests.execution.test_generate import generate, prompt
from tests.families import ENCODERS, FAMILIES, tiny_module
from tests.tokenizers import word_tokenizer

# The library's newest release calls this activation checkpointing; PEFT does not.
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")

STACKING = [family for family in FAMILIES if family != "bloom"]  # its activation is an autograd.Function
DECODERS = [family for family in STACKING if family not in ENCODERS]
SPECS = ("0 (1|2|3)*3", "(0|0|2|3) 1 (1|3)")
# Blocks 1 and 3 of gemma2 see everything, 0 and 2 a window: stages of both are two calls.
RUN_AS_ONE = {
    "0 (1|2|3)*3": {"gemma2": [(1, 3)] * 3},
    "(0|0|2|3) 1 (1|3)": {"gemma2": [(0, 0, 2), (1, 3)]},
}
EXPECTED = {"0 (1|2|3)*3": [(1, 2, 3)] * 3, "(0|0|2|3) 1 (1|3)": [(0, 0, 2, 3), (1, 3)]}


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Collect the blocks that were run as one."""
    seen: list[tuple[int, ...]] = []
    real = batched_blocks._run_as_one

    def run(calls, blocks, *rest):
        seen.append(blocks)
        return real(calls, blocks, *rest)

    monkeypatch.setattr(batched_blocks, "_run_as_one", run)
    return seen


@functools.cache
def in_double(family: str) -> Model:
    """Return a model in float64, but for gemma2, whose own masks overflow there."""
    return make_model(family, torch.float32 if family == "gemma2" else torch.float64)


@functools.cache
def own_model(family: str) -> Model:
    """Return a model on which no other test has a session open: blocks with hooks run by themselves."""
    return make_model(family)


def logits(model: Model, spec: str, inputs: dict[str, torch.Tensor], *, stacked: bool) -> torch.Tensor:
    with scheduled(model, spec, stacked=stacked), torch.no_grad():
        found: torch.Tensor = model.module(**inputs).logits
    return found


def assert_close(got: torch.Tensor, wanted: torch.Tensor, within: float) -> None:
    assert float((got - wanted).abs().max()) <= within * float(wanted.abs().max())


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("family", STACKING)
def test_one_call_is_one_by_one(family, spec, joined):
    """In float64 to 12 digits, padded on either side, each block with its own mask and window."""
    model = in_double(family)
    for side in ("left", "right"):
        ids, mask, positions = batch(model, side)
        inputs = model.inputs(ids, mask, positions)
        wanted = logits(model, spec, inputs, stacked=False)
        assert not joined
        got = logits(model, spec, inputs, stacked=True)
        assert joined == RUN_AS_ONE[spec].get(family, EXPECTED[spec])
        assert_close(got[mask == 1], wanted[mask == 1], 1e-5 if family == "gemma2" else 1e-12)
        joined.clear()


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_precisions_and_attentions(dtype, attention, joined):
    model = make_model("llama", dtype, attention)
    ids, mask, positions = batch(model)
    inputs = model.inputs(ids, mask, positions)
    wanted, got = (logits(model, SPECS[0], inputs, stacked=stacked) for stacked in (False, True))
    assert len(joined) == 3
    assert got.dtype == dtype
    assert_close(got[mask == 1].float(), wanted[mask == 1].float(), {torch.float32: 1e-5, torch.bfloat16: 0.05}[dtype])


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("family", DECODERS)
def test_with_a_cache(family, spec, joined):
    """Prompts padded on the left, longer than the windows; each step's blocks as one, each with its own past."""
    model = own_model(family)
    with scheduled(model, spec):
        wanted = generate(model, *prompt())
    with scheduled(model, spec, stacked=True):
        got = generate(model, *prompt())
    assert joined == RUN_AS_ONE[spec].get(family, EXPECTED[spec]) * 4  # the prompt and three tokens
    assert torch.equal(got[0], wanted[0])
    assert float((got[1] - wanted[1]).abs().max()) < 1e-5


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2"])
def test_slots_are_as_if_each_block_had_run_alone(family):
    """Whatever the library does to a cache, it does to what one call has left there."""
    model, ids = in_double(family), prompt()[0]
    left = []
    for stacked in (False, True):
        cache = DynamicCache(config=model.config)
        with scheduled(model, SPECS[0], stacked=stacked), torch.no_grad():
            model.module(ids, past_key_values=cache, use_cache=True)
            cache.batch_repeat_interleave(2)
            cache.reorder_cache(torch.tensor([3, 0, 1, 2]))
            model.module(ids.repeat(2, 1)[:, :2], past_key_values=cache, use_cache=True)
        left.append(cache)
    for one, other in zip(left[0].layers, left[1].layers, strict=True):
        assert type(one) is type(other)
        assert vars(one).keys() == vars(other).keys()
        for name, value in vars(one).items():
            if name in ("keys", "values"):
                assert_close(getattr(other, name), value, 1e-5 if family == "gemma2" else 1e-12)
            elif not isinstance(value, torch.Tensor):
                assert getattr(other, name) == value, name


def test_generate_in_one_word(joined):
    model = replace(make_model("llama"), tokenizer=word_tokenizer())
    found = [ls.generate(model, "w1 w2", SPECS[0], max_new_tokens=3, stacked=stacked) for stacked in (False, True)]
    assert joined == [(1, 2, 3)] * 9
    assert found[0] == found[1]


def test_beams(joined):
    model = in_double("gemma3_text")
    found = []
    for stacked in (False, True):
        with scheduled(model, SPECS[0], stacked=stacked):
            found.append(model.module.generate(prompt()[0], num_beams=3, max_new_tokens=4, do_sample=False))
    assert len(joined) == 12
    assert torch.equal(*found)


# What runs one by one all the same


def hook(model: Model) -> None:
    model.blocks[2].register_forward_hook(lambda *_: None)


def hook_inside(model: Model) -> None:
    list(model.blocks[2].modules())[-1].register_forward_pre_hook(lambda *_: None)


def own_forward(model: Model) -> None:
    model.blocks[2].forward = functools.partial(type(model.blocks[2]).forward, model.blocks[2])


def training(model: Model) -> None:
    model.blocks[2].train()


def other_number(model: Model) -> None:
    model.blocks[2].self_attn.scaling *= 2


def other_type(model: Model) -> None:
    model.blocks[2].mlp.double().register_forward_pre_hook(lambda _, args: (args[0].double(),))
    model.blocks[2].mlp.register_forward_hook(lambda _, __, output: output.float())


@pytest.mark.parametrize("change", [hook, hook_inside, own_forward, training, other_number, other_type])
def test_a_block_that_is_not_like_the_others_runs_by_itself(change: Callable[[Model], None], joined):
    model = make_model("llama")
    change(model)
    ids, mask, positions = batch(model)
    inputs = model.inputs(ids, mask, positions)
    wanted, got = (logits(model, SPECS[0], inputs, stacked=stacked) for stacked in (False, True))
    assert joined == [(1, 3)] * 3
    assert_close(got[mask == 1], wanted[mask == 1], 1e-5)


def test_blocks_in_training_mode_run_by_themselves(joined):
    """Each would draw its own dropout."""
    model = make_model("llama")
    model.module.train()
    logits(model, SPECS[0], {"input_ids": prompt()[0]}, stacked=True)
    assert not joined


def test_hooks_run_for_their_block_alone():
    model, heard = make_model("llama"), []
    model.blocks[2].register_forward_hook(lambda *_: heard.append("hook"))
    logits(model, SPECS[0], {"input_ids": prompt()[0]}, stacked=True)
    assert heard == ["hook"] * 3


def test_blocks_scaled_by_their_number(joined):
    config = tiny_module("gpt2").config
    config.scale_attn_by_inverse_layer_idx = True
    model = wrap_module(transformers.GPT2LMHeadModel(config).eval(), name="scaled")
    inputs = {"input_ids": prompt()[0]}
    wanted, got = (logits(model, SPECS[0], inputs, stacked=stacked) for stacked in (False, True))
    assert not joined
    assert torch.equal(got, wanted)


def test_gradients_flow_as_ever(joined):
    model = make_model("llama")
    ids = prompt()[0]
    found = []
    for stacked in (False, True):
        with scheduled(model, SPECS[0], stacked=stacked):
            model.module(ids, labels=ids).loss.backward()
        found.append([None if weight.grad is None else weight.grad.clone() for weight in model.module.parameters()])
        model.module.zero_grad()
    assert not joined
    assert all(one is other is None or torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_frozen_weights_and_gradients_of_the_input(joined):
    model = make_model("llama")
    model.module.requires_grad_(False)
    embeddings = model.module.get_input_embeddings()(prompt()[0]).requires_grad_()
    with scheduled(model, SPECS[0], stacked=True):
        model.module(prompt()[0])
        assert len(joined) == 3
        model.module(inputs_embeds=embeddings).logits.sum().backward()
    assert len(joined) == 3
    assert embeddings.grad is not None


def test_static_caches(joined):
    model = own_model("llama")
    ids, found = prompt()[0], []
    for stacked in (False, True):
        cache = StaticCache(config=model.config, max_cache_len=12)
        with scheduled(model, SPECS[0], stacked=stacked):
            found.append(generate(model, ids, torch.ones_like(ids), past_key_values=cache)[1])
    assert not joined
    assert torch.equal(*found)


def test_weights_that_are_elsewhere(joined):
    model = make_model("llama")
    inputs = {"input_ids": prompt()[0]}
    wanted = logits(model, SPECS[0], inputs, stacked=False)
    accelerate.cpu_offload(model.module, execution_device=torch.device("cpu"))
    assert torch.equal(logits(model, SPECS[0], inputs, stacked=True), wanted)
    assert not joined


def test_blocks_with_adapters_run_by_themselves(joined):
    """An adapter knows which block it is of."""
    model = make_model("llama")
    inputs = {"input_ids": prompt()[0]}
    for layers, expected in ((None, []), ([2], [(1, 3)] * 3)):
        config = peft.LoraConfig(r=2, target_modules=["q_proj"], layers_to_transform=layers, init_lora_weights=False)
        adapted = peft.get_peft_model(model.module, config).eval()
        wanted, got = (logits(model, SPECS[0], inputs, stacked=stacked) for stacked in (False, True))
        assert joined == expected
        assert_close(got, wanted, 1e-5)
        joined.clear()
        adapted.unload()


def test_blocks_that_vmap_cannot_run_are_one_by_one(joined):
    model = make_model("bloom")
    inputs = {"input_ids": prompt()[0]}
    wanted, got = (logits(model, SPECS[0], inputs, stacked=stacked) for stacked in (False, True))
    assert joined == [(1, 2, 3)]  # tried once, not in each of the three stages
    assert torch.equal(got, wanted)


def test_a_fault_of_a_block_is_no_reason_to_run_it_alone(joined):
    model = make_model("llama")
    for block in model.blocks:
        block.mlp.down_proj.weight = torch.nn.Parameter(torch.zeros(32, 63))
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        logits(model, SPECS[0], {"input_ids": prompt()[0]}, stacked=True)


# The weights


def test_weights_that_change_inside_are_stacked_anew(joined):
    model = make_model("llama")
    inputs = {"input_ids": prompt()[0]}

    changes = (
        lambda: model.blocks[2].mlp.down_proj.weight.mul_(2),
        lambda: torch.nn.init.ones_(model.blocks[1].self_attn.q_proj.weight),
        lambda: model.module.to(torch.float64),
        lambda: model.module.load_state_dict(make_model("llama").module.state_dict()),
        lambda: setattr(model.blocks[3].mlp, "up_proj", torch.nn.Linear(32, 64, bias=False).double().eval()),
    )
    got, wanted = [], []
    with scheduled(model, SPECS[0], stacked=True), torch.no_grad():
        for change in (lambda: None, *changes):
            change()
            got.append(model.module(**inputs).logits)
            other = wrap_module(copy.deepcopy(model.module), name="other")
            wanted.append(logits(other, SPECS[0], inputs, stacked=False))
    assert joined == [(1, 2, 3)] * 18
    for one, other in zip(got, wanted, strict=True):
        assert_close(one, other, 1e-5)


def test_weights_are_stacked_once_a_context_and_let_go(monkeypatch):
    made = []
    real = batched_blocks._Stack.__init__
    monkeypatch.setattr(
        batched_blocks._Stack, "__init__", lambda self, sources: (made.append(len(sources)), real(self, sources))[1]
    )
    model = make_model("llama")
    before = snapshot(model)
    for _ in range(2):
        with scheduled(model, SPECS[0], stacked=True):
            generate(model, *prompt())
    assert made == [3, 3]
    assert_as_it_was(model, before)


@pytest.mark.real
def test_a_real_model_writes_the_same(smollm2):
    ids = smollm2.tokenizer("The capital of France is", return_tensors="pt")["input_ids"]
    found = []
    for stacked in (False, True):
        with scheduled(smollm2, "looped_parallel:10:loops=2", stacked=stacked):
            found.append(generate(smollm2, ids, torch.ones_like(ids)))
    assert torch.equal(found[0][0], found[1][0])
    assert_close(found[1][1], found[0][1], 1e-4)
