"""A scheduled model against the schedule run by hand, and what the context leaves of the model."""

import copy
import functools
import io
import itertools
from dataclasses import replace

import pytest
import torch
import transformers
from torch import nn

from layerscope.errors import ScheduleError, UsageError
from layerscope.execution.scheduled import scheduled
from layerscope.models.loading import wrap_module
from layerscope.models.model import Model
from layerscope.schedules.schedule import Schedule
from layerscope.schedules.spec import parse_spec
from tests.capturing.conformance import ROUNDING, assert_as_it_was, batch, make_model, shared_model, snapshot
from tests.execution.oracles import STAGES, run_by_hand
from tests.families import DEPTH, ENCODERS, FAMILIES, tiny_module

each_family = pytest.mark.parametrize("family", FAMILIES)
ROUNDING = ROUNDING | {torch.bfloat16: 2**-7}  # one unit in the last place, of a mean that is rounded once


@functools.cache
def model_with(family: str, dtype: torch.dtype = torch.float32, attention: str = "eager") -> Model:
    """Return a shared model, to be left as it was. The library has no SDPA for gemma2, and falcon chooses when it is made."""
    if family == "gemma2":
        return make_model(family, dtype)
    if family != "falcon":
        return make_model(family, dtype, attention)
    given = make_model(family)
    module = type(given.module)._from_config(given.config, attn_implementation=attention).eval()
    module.load_state_dict(given.module.state_dict())
    return wrap_module(module.to(dtype), name=f"tiny-{family}")


def inputs_of(model: Model, side: str = "right") -> dict[str, torch.Tensor]:
    ids, mask, positions = batch(model, side)
    return model.inputs(ids, mask, positions)


def close(one: torch.Tensor, other: torch.Tensor, mask: torch.Tensor) -> bool:
    """Compare real tokens: to the bit, or relative to the largest value."""
    one, other = one[mask == 1], other[mask == 1]
    return bool((one - other).abs().max() <= ROUNDING[one.dtype] * other.abs().max())


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.equal(one.view(torch.uint8), other.view(torch.uint8))  # NaN equals itself: padded places may hold it


def alone(stages) -> bool:
    return all(len(stage) == 1 for stage in stages)


# What is computed


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@each_family
def test_identity_is_the_model_to_the_bit(family, dtype, attention):
    model = model_with(family, dtype, attention)
    for side in ("left", "right"):
        inputs = inputs_of(model, side)
        with torch.no_grad():
            expected = model.module(**inputs).logits
            with scheduled(model, "identity"):
                assert torch.equal(model.module(**inputs).logits, expected)
                unpadded = model.module(inputs["input_ids"]).logits  # with a cache, where the model makes one
            assert torch.equal(unpadded, model.module(inputs["input_ids"]).logits)


@pytest.mark.parametrize(
    ("dtype", "attention", "side", "specs"),
    [
        (torch.float32, "sdpa", "left", list(STAGES)),
        (torch.bfloat16, "eager", "right", ["looped_parallel:0:loops=3", "3 (0|0|2) 1*2"]),
    ],
    ids=["float32", "bfloat16"],
)
@each_family
def test_every_variant_is_the_schedule_run_by_hand(family, dtype, attention, side, specs):
    model = model_with(family, dtype, attention)
    inputs = inputs_of(model, side)
    mask = inputs["attention_mask"]
    for spec in specs:
        stages = STAGES[spec]
        observed: dict[int, torch.Tensor] = {}
        with torch.no_grad():
            states, expected = run_by_hand(model, stages, **inputs)
            with scheduled(model, spec, observe=observed.__setitem__) as running:
                logits = model.module(**inputs).logits
        assert running == stages
        assert list(observed) == list(range(len(stages) + 1))
        for got, wanted in zip([*observed.values(), logits], [*states, expected], strict=True):
            assert got.dtype == dtype
            assert same_bits(got, wanted) if alone(stages) else close(got, wanted, mask), spec


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2", "bert"])
def test_variants_differ(family):
    """What a test of equality rests on: no two of these schedules compute the same."""
    model = shared_model(family)
    with torch.no_grad():
        found = [run_by_hand(model, stages, **inputs_of(model))[1] for stages in STAGES.values()]
    assert not any(torch.allclose(a, b, atol=1e-3) for a, b in itertools.combinations(found, 2))


@pytest.mark.parametrize("family", ["mistral", "gemma2", "gemma3_text"])
def test_the_windows_bite(family):
    """Each block keeps its own window wherever it runs: without it the result would be another one."""
    model, wide = shared_model(family), make_model(family)
    assert model.config.sliding_window == 5
    wide.config.sliding_window = 50
    wide = wrap_module(type(wide.module)(wide.config).eval(), name="wide")
    wide.module.load_state_dict(model.module.state_dict())
    inputs = inputs_of(model)
    assert inputs["input_ids"].shape[1] > 5
    with torch.no_grad():
        for spec in ("reverse:0", "parallel:0"):
            with scheduled(model, spec), scheduled(wide, spec):
                assert not torch.allclose(model.module(**inputs).logits, wide.module(**inputs).logits, atol=1e-3)


def test_each_block_has_its_own_mask():
    """Of gemma2's blocks 0 and 2 see a window, 1 and 3 see everything; a block moved takes its mask with it."""
    model = shared_model("gemma2")
    assert model.config.layer_types == ["sliding_attention", "full_attention"] * 2
    ids = torch.randint(2, 97, (1, 12), generator=torch.Generator().manual_seed(0))
    other = ids.clone()
    other[0, 0] += 1
    with torch.no_grad():
        for blocks, reach in (("2", 5), ("0 2", 9), ("2*2", 9), ("1", 12), ("2 1", 12)):
            with scheduled(model, blocks):
                moved = (model.module(ids).logits != model.module(other).logits).any(-1)[0]
            assert moved.tolist() == [position < reach for position in range(12)], blocks


def test_a_schedule_comes_in_many_forms():
    model = shared_model("llama")
    inputs = inputs_of(model)
    found = []
    for form in (
        "reverse:0",
        "0 3-1",
        parse_spec("reverse:0"),
        Schedule([(0,), (3,), (2,), (1,)]),
        STAGES["reverse:0"],
    ):
        with scheduled(model, form) as running, torch.no_grad():
            found.append(model.module(**inputs).logits)
        assert running == STAGES["reverse:0"]
    assert all(torch.equal(logits, found[0]) for logits in found)


def test_inputs_as_embeddings():
    model = shared_model("llama")
    inputs = inputs_of(model)
    ids = inputs.pop("input_ids")
    with scheduled(model, "reverse:0"), torch.no_grad():
        expected = model.module(ids, **inputs).logits
        assert torch.equal(
            model.module(inputs_embeds=model.module.get_input_embeddings()(ids), **inputs).logits, expected
        )


# Gradients


@each_family
def test_gradients_are_those_by_hand(family):
    model = model_with(family)
    inputs = inputs_of(model)
    weights = dict(model.module.named_parameters())
    with scheduled(model, "3 (0|0|2)*2 0") as stages:
        loss = model.module(**inputs).logits[inputs["attention_mask"] == 1].logsumexp(-1).sum()
    got = torch.autograd.grad(loss, weights.values(), allow_unused=True)  # which takes place outside
    _, logits = run_by_hand(model, stages, **inputs)
    loss = logits[inputs["attention_mask"] == 1].logsumexp(-1).sum()
    expected = torch.autograd.grad(loss, weights.values(), allow_unused=True)
    for name, one, other in zip(weights, got, expected, strict=True):
        assert (one is None) == (other is None), name
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()), msg=name)
    blocks_of_schedule = {model.blocks[index] for stage in stages for index in stage}
    by_weight = dict(zip(weights.values(), got, strict=True))
    for block in model.blocks:
        has = [by_weight[weight] is not None for weight in block.parameters()]
        assert all(has) if block in blocks_of_schedule else not any(has)


# What the model is, inside and after


class Trouble(Exception):
    pass


def logits_of(model: Model) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model.module(**inputs_of(model)).logits
    return logits


@each_family
def test_the_model_is_left_as_it_was(family):
    model = make_model(family)
    next(part for part in model.blocks[1].modules() if hasattr(part, "weight")).training = True
    before, expected = snapshot(model), logits_of(model)
    for spec in ("reverse:0", "3 (1|2)"):
        with scheduled(model, spec):
            assert not torch.equal(logits_of(model), expected)
        assert_as_it_was(model, before)

    def fail(number: int, stream: torch.Tensor) -> None:
        if number == 2:
            raise Trouble

    with pytest.raises(Trouble), scheduled(model, "reverse:0", observe=fail):
        logits_of(model)
    assert_as_it_was(model, before)
    with pytest.raises(Trouble), scheduled(model, "reverse:0"):
        raise Trouble
    assert_as_it_was(model, before)
    assert torch.equal(logits_of(model), expected)


@each_family
def test_inside_the_model_is_what_it_always_is(family):
    model = make_model(family)
    module = model.module

    def look() -> dict[str, object]:
        return {
            "parameters": [(name, id(weight)) for name, weight in module.named_parameters()],
            "buffers": [(name, id(buffer)) for name, buffer in module.named_buffers()],
            "modules": [(name, id(part)) for name, part in module.named_modules()],
            "children": [[id(child) for child in part.children()] for part in module.modules()],
            "state": [(name, tensor.data_ptr()) for name, tensor in module.state_dict().items()],
            "names": [(type(part).__name__, type(part).__module__, str(part)) for part in module.modules()],
            "hooks": [[len(hooks) for key, hooks in vars(part).items() if "hooks" in key] for part in module.modules()],
            "dtype": (module.dtype, module.device, module.num_parameters(), module.can_generate()),
        }

    outside, kinds = look(), [type(part) for part in module.modules()]
    with scheduled(model, "reverse:0"):
        assert look() == outside
        assert all(isinstance(part, kind) for part, kind in zip(module.modules(), kinds, strict=True))
        expected = logits_of(model)
        module.train()
        assert all(part.training for part in module.modules())
        module.eval()
        assert not any(part.training for part in module.modules())
        model.blocks[2].train()
        assert all(part.training for part in model.blocks[2].modules())
        module.eval()
        module.requires_grad_(False)
        module.to(torch.float64)
        assert {weight.dtype for weight in module.parameters()} == {torch.float64}
        assert logits_of(model).dtype == torch.float64
        module.to(torch.float32)
        assert torch.equal(logits_of(model), expected)
    assert [type(part) for part in module.modules()] == kinds


@each_family
def test_copies_and_pickles_made_inside_are_the_model_without_the_schedule(family):
    model = make_model(family)
    expected = logits_of(model)
    with scheduled(model, "reverse:0"):
        copied = copy.deepcopy(model.module)
        written = io.BytesIO()
        torch.save(model.module, written)
        assert not torch.equal(logits_of(model), expected)
    assert b"layerscope" not in written.getvalue()
    written.seek(0)
    for other in (copied, torch.load(written, weights_only=False)):
        assert [type(part) for part in other.modules()] == [type(part) for part in model.module.modules()]
        assert [sorted(vars(part)) for part in other.modules()] == [
            sorted(vars(part)) for part in model.module.modules()
        ]
        assert torch.equal(logits_of(replace(model, module=other)), expected)
        assert other(**inputs_of(model), output_hidden_states=True).hidden_states


def test_a_folder_saved_inside_is_the_model(tmp_path):
    model = make_model("llama")
    expected = logits_of(model)
    with scheduled(model, "reverse:0"):
        model.module.save_pretrained(tmp_path)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(logits_of(replace(model, module=again)), expected)


def test_contexts_do_not_nest():
    model = make_model("llama")
    before = snapshot(model)
    with scheduled(model, "reverse:0"):
        expected = logits_of(model)
        with pytest.raises(UsageError) as error, scheduled(model, "identity"):
            pass
        assert str(error.value) == ("tiny-llama: its blocks run under a schedule already; leave that context first")
        with pytest.raises(UsageError, match="already"), scheduled(replace(model), "identity"):
            pass
        assert torch.equal(logits_of(model), expected)
    assert_as_it_was(model, before)


def test_two_models_run_side_by_side():
    one, other = shared_model("llama"), make_model("llama")
    with scheduled(one, "reverse:0"):
        expected = logits_of(one)
        with scheduled(other, "skip:0"):
            assert torch.equal(logits_of(one), expected)
            assert not torch.equal(logits_of(other), expected)


def test_hooks_on_a_block_run_when_the_block_runs():
    model = make_model("llama")
    heard: list[str] = []
    handles = [
        block.register_forward_hook(lambda *_, index=index: heard.append(f"block {index}"))
        for index, block in enumerate(model.blocks)
    ]
    handles.append(model.blocks[1].mlp.register_forward_pre_hook(lambda *_: heard.append("mlp 1")))
    with scheduled(model, "0 (1|3)*2"):
        handles.append(model.blocks[3].register_forward_pre_hook(lambda *_: heard.append("before 3")))
        logits_of(model)
        assert heard == ["block 0", *["mlp 1", "block 1", "before 3", "block 3"] * 2]
        handles.append(model.blocks[0].register_forward_hook(lambda _, __, stream: stream * 0))
        for handle in handles[:DEPTH]:
            handle.remove()
        observed = {}
    with scheduled(model, "0", observe=observed.__setitem__):
        logits_of(model)
    assert not observed[1].any()  # what a hook returns counts
    for handle in handles:
        handle.remove()


# What is refused

WANTED = ("output_hidden_states", "output_attentions")


@pytest.mark.parametrize("name", WANTED)
@each_family
def test_what_the_model_would_get_wrong_is_refused(family, name):
    model = model_with(family)
    inputs = inputs_of(model)
    message = (
        f"{name} is not available under a schedule: transformers would return it in the wrong order.\n"
        "Use ls.capture(…, schedule=…), which records the state after every stage."
    )
    with scheduled(model, "reverse:0"):
        expected = logits_of(model)
        for part in (model.module, model.trunk):
            with pytest.raises(UsageError) as error:
                part(**inputs, **{name: True})
            assert str(error.value) == message
        if family not in ENCODERS:
            with pytest.raises(UsageError, match=name):
                model.module.generate(
                    inputs["input_ids"][:1], max_new_tokens=1, **{name: True, "return_dict_in_generate": True}
                )
        setattr(model.config, name, True)
        for part in (model.module, model.trunk):
            with pytest.raises(UsageError) as error:
                part(**inputs)
            assert str(error.value) == message
        with torch.no_grad():
            assert torch.equal(model.module(**inputs, **{name: False}).logits, expected)
        setattr(model.config, name, False)
    assert model.module(**inputs, **{name: True}).logits is not None


def test_schedules_that_cannot_be():
    model = make_model("llama")
    before = snapshot(model)
    for bad, error in (("reverse", UsageError), ("skip:2", ScheduleError), ("0-4", ScheduleError), ((), ScheduleError)):
        with pytest.raises(error), scheduled(model, bad):
            pass
    assert_as_it_was(model, before)


def test_a_model_without_a_head():
    config = tiny_module("llama").config
    model = wrap_module(transformers.LlamaModel(config).eval(), name="headless")
    ids = torch.arange(5, 12)[None]
    with scheduled(model, "identity"), torch.no_grad():
        got = model.module(ids).last_hidden_state
    assert torch.equal(got, model.module(ids).last_hidden_state)


def test_blocks_stay_of_one_class_each():
    """The class of an intercepted block is made once and reused."""
    model = shared_model("llama")
    kinds = set()
    for _ in range(3):
        with scheduled(model, "identity"):
            kinds |= {type(block) for block in model.blocks}
    assert len(kinds) == 1
    assert isinstance(model.blocks[0], nn.Module)
    assert type(model.blocks[0]) not in kinds
