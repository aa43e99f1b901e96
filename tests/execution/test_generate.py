"""Cached generation under a schedule is recomputing everything, token for token."""

import copy
import functools
import pickle

import pytest
import torch
import transformers
from transformers import DynamicCache, StaticCache

from layerscope.errors import UsageError
from layerscope.execution.scheduled import scheduled
from layerscope.models.loading import wrap_module
from layerscope.models.model import Model
from tests.capturing.conformance import assert_as_it_was, make_model, shared_model, snapshot
from tests.execution.oracles import STAGES, next_tokens_by_hand, run_by_hand
from tests.families import ENCODERS, FAMILIES, tiny_module

DECODERS = [family for family in FAMILIES if family not in ENCODERS]
WINDOWED = ("mistral", "gemma2", "gemma3_text")
NEW = 4
each_decoder = pytest.mark.parametrize("family", DECODERS)


@functools.cache
def gemma3() -> Model:
    """Return a gemma3 with blocks of both kinds; the tiny one of the families has windows alone."""
    config = tiny_module("gemma3_text").config
    config.layer_types = ["sliding_attention", "full_attention"] * 2
    config.sliding_window = 5
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = transformers.Gemma3ForCausalLM(config).eval()
    for parameter in module.parameters():
        if parameter.ndim > 1:
            parameter.data.mul_(3)
    return wrap_module(module, name="tiny-gemma3-mixed")


def decoder(family: str) -> Model:
    return gemma3() if family == "gemma3_text" else shared_model(family)


def prompt() -> tuple[torch.Tensor, torch.Tensor]:
    """Return two prompts, the second shorter and padded on the left; longer than the windows."""
    ids = torch.randint(2, 97, (2, 8), generator=torch.Generator().manual_seed(3))
    mask = torch.ones_like(ids)
    ids[1, :3], mask[1, :3] = 0, 0
    return ids, mask


def generate(model: Model, ids: torch.Tensor, mask: torch.Tensor, **options) -> tuple[torch.Tensor, torch.Tensor]:
    found = model.module.generate(
        ids,
        attention_mask=mask,
        **{"max_new_tokens": NEW, "do_sample": False, "output_logits": True, "return_dict_in_generate": True} | options,
    )
    return found.sequences, torch.stack(found.logits, dim=1)


@functools.cache
def expected(family: str, spec: str) -> tuple[torch.Tensor, torch.Tensor]:
    return next_tokens_by_hand(decoder(family), STAGES[spec], *prompt(), NEW)


def assert_same(got: tuple[torch.Tensor, torch.Tensor], wanted: tuple[torch.Tensor, torch.Tensor]) -> None:
    assert torch.equal(got[0], wanted[0])
    assert float((got[1] - wanted[1]).abs().max()) < 1e-5


# Every variant, every family


@pytest.mark.parametrize("spec", STAGES)
@each_decoder
def test_cached_generation_is_recomputing_everything(family, spec):
    model, wanted = decoder(family), expected(family, spec)
    with scheduled(model, spec):
        assert_same(generate(model, *prompt()), wanted)


@each_decoder
def test_generation_without_a_cache(family):
    model, wanted = decoder(family), expected(family, "looped_parallel:0:loops=3")
    with scheduled(model, "looped_parallel:0:loops=3"):
        assert_same(generate(model, *prompt(), use_cache=False), wanted)


@each_decoder
def test_identity_generates_what_the_model_does_to_the_bit(family):
    model = decoder(family)
    plain = generate(model, *prompt())
    with scheduled(model, "identity"):
        inside = generate(model, *prompt())
    assert torch.equal(inside[0], plain[0])
    assert torch.equal(inside[1], plain[1])
    assert torch.equal(generate(model, *prompt())[1], plain[1])


@pytest.mark.parametrize("family", ["llama", "gemma2", "falcon"])
def test_half_precision_generates_with_slots_as_the_model_does(family):
    model = make_model(family, torch.bfloat16)
    plain = generate(model, *prompt())
    with scheduled(model, "identity"):
        inside = generate(model, *prompt())
    assert torch.equal(inside[0], plain[0])
    assert torch.equal(inside[1], plain[1])
    with scheduled(model, "looped_parallel:0:loops=3"):
        cached, anew = (
            generate(model, *prompt(), use_cache=use_cache, max_new_tokens=2) for use_cache in (True, False)
        )
    assert float((cached[1][:, 0] - anew[1][:, 0]).abs().max()) <= 0.05 * float(anew[1].abs().max())


def test_the_prompts_outgrow_the_windows():
    assert prompt()[0].shape[1] > 5
    assert {model.config.sliding_window for model in map(decoder, WINDOWED)} == {5}
    assert gemma3().config.layer_types.count("full_attention") == 2


# Whose cache


@pytest.mark.parametrize("spec", ["looped_parallel:0:loops=3", "skip:0"])
@each_decoder
def test_a_cache_of_the_users(family, spec):
    model, wanted = decoder(family), expected(family, spec)
    with scheduled(model, spec):
        for cache in (DynamicCache(config=model.config), DynamicCache()):
            assert_same(generate(model, *prompt(), past_key_values=cache), wanted)
            assert cache.get_seq_length() == prompt()[0].shape[1] + NEW - 1


@each_decoder
def test_static_caches(family):
    spec = "looped_parallel:0:loops=3"
    model, wanted = decoder(family), expected(family, spec)
    length = prompt()[0].shape[1] + NEW
    with scheduled(model, spec):
        assert_same(generate(model, *prompt(), cache_implementation="static"), wanted)
        cache = StaticCache(config=model.config, max_cache_len=length)
        assert_same(generate(model, *prompt(), past_key_values=cache), wanted)
        if family != "falcon":  # for which the library itself counts the heads wrongly when it makes room ahead
            assert_same(generate(model, *prompt(), cache_implementation="static", prefill_chunk_size=3), wanted)


@each_decoder
def test_several_tokens_at_a_time(family):
    """A text goes on in pieces, each longer than one token, and the lengths are told truly."""
    model = decoder(family)
    ids, mask = torch.randint(2, 97, (2, 13), generator=torch.Generator().manual_seed(5)), torch.ones(2, 13).long()
    for spec in ("looped_parallel:0:loops=3", "3 (0|0|2) 1*2"):
        with torch.no_grad():
            _, wanted = run_by_hand(model, STAGES[spec], input_ids=ids, attention_mask=mask)
        cache = DynamicCache(config=model.config)
        pieces = []
        with scheduled(model, spec), torch.no_grad():
            for first, last in ((0, 4), (4, 5), (5, 11), (11, 13)):
                assert cache.get_seq_length() == first
                pieces.append(model.module(ids[:, first:last], past_key_values=cache, use_cache=True).logits)
        assert torch.allclose(torch.cat(pieces, 1), wanted, atol=1e-5)


def test_a_schedule_without_windowed_blocks_has_true_positions():
    """And one without the others, and one without the first block, whose length is the one that is asked for."""
    model = gemma3()
    for blocks, stages in (("1 3", ((1,), (3,))), ("0 2", ((0,), (2,))), ("3 2 2", ((3,), (2,), (2,)))):
        wanted = next_tokens_by_hand(model, stages, *prompt(), NEW)
        with scheduled(model, blocks):
            assert_same(generate(model, *prompt()), wanted)


# What the library does to a cache


@pytest.mark.parametrize("spec", ["looped_parallel:0:loops=3", "skip:0"])
@each_decoder
def test_beam_search(family, spec):
    model = decoder(family)
    options = {"num_beams": 3, "num_return_sequences": 2, "output_logits": False, "output_scores": True}
    with scheduled(model, spec):
        found = [
            model.module.generate(
                prompt()[0],
                attention_mask=prompt()[1],
                use_cache=use_cache,
                max_new_tokens=NEW,
                do_sample=False,
                return_dict_in_generate=True,
                **options,
            )
            for use_cache in (True, False)
        ]
    assert torch.equal(found[0].sequences, found[1].sequences)
    assert torch.allclose(found[0].sequences_scores, found[1].sequences_scores, atol=1e-5)


@pytest.mark.parametrize("spec", ["looped_parallel:0:loops=3", "skip:0", "repeat:1-2:times=2"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "gemma3_text"])
def test_crop_and_go_on(family, spec):
    model = decoder(family)
    ids = torch.randint(2, 97, (2, 9), generator=torch.Generator().manual_seed(7))
    other = torch.cat([ids[:, :6], (ids[:, 6:] + 1) % 97], dim=1)
    cache = DynamicCache(config=model.config)
    with torch.no_grad():
        _, wanted = run_by_hand(model, STAGES[spec], input_ids=other, attention_mask=torch.ones_like(other))
        with scheduled(model, spec):
            model.module(ids[:, :2], past_key_values=cache, use_cache=True)
            cache.activate_past_recording()  # by which windows remember what a crop may ask for
            model.module(ids[:, 2:], past_key_values=cache, use_cache=True)
            cache.crop(-3)
            assert cache.get_seq_length() == 6
            got = model.module(other[:, 6:], past_key_values=cache, use_cache=True).logits
    assert torch.allclose(got, wanted[:, 6:], atol=1e-5)


@pytest.mark.parametrize("spec", ["looped_parallel:0:loops=3", "skip:0", "reverse:0"])
@pytest.mark.parametrize("family", ["llama", "gpt_neox", "gemma2"])
def test_assisted_decoding(family, spec):
    """Guesses from the prompt are tried several at a time, and cut back out of the cache where they were wrong."""
    model = decoder(family)
    ids = torch.tensor([[5, 6, 7, 8, 5, 6, 7, 9, 5, 6]])
    wanted = next_tokens_by_hand(model, STAGES[spec], ids, torch.ones_like(ids), NEW)[0]
    with scheduled(model, spec):
        got = model.module.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, do_sample=False, prompt_lookup_num_tokens=3
        )
    assert torch.equal(got, wanted)


@pytest.mark.parametrize("spec", ["looped_parallel:0:loops=3", "skip:0"])
@each_decoder
def test_lines_of_a_cache_are_repeated_and_chosen(family, spec):
    model = decoder(family)
    ids = torch.randint(2, 97, (2, 9), generator=torch.Generator().manual_seed(9))
    begin, further = ids[:, :7], torch.randint(2, 97, (4, 2), generator=torch.Generator().manual_seed(10))
    whole = torch.cat([begin.repeat_interleave(2, dim=0), further], dim=1)
    cache = DynamicCache(config=model.config)
    with torch.no_grad():
        _, wanted = run_by_hand(model, STAGES[spec], input_ids=whole, attention_mask=torch.ones_like(whole))
        with scheduled(model, spec):
            model.module(begin, past_key_values=cache, use_cache=True)
            cache.batch_repeat_interleave(2)
            got = model.module(further[:, :1], past_key_values=cache, use_cache=True).logits
            assert torch.allclose(got, wanted[:, 7:8], atol=1e-5)
            cache.batch_select_indices(torch.tensor([3, 0]))
            got = model.module(further[[3, 0], 1:], past_key_values=cache, use_cache=True).logits
    assert torch.allclose(got, wanted[[3, 0], 8:], atol=1e-5)


def test_a_cache_is_reset():
    model = decoder("llama")
    for cache in (DynamicCache(config=model.config), StaticCache(config=model.config, max_cache_len=20)):
        with scheduled(model, "looped_parallel:0:loops=3"), torch.no_grad():
            first = model.module(prompt()[0], past_key_values=cache, use_cache=True).logits
            cache.reset()
            assert torch.equal(model.module(prompt()[0], past_key_values=cache, use_cache=True).logits, first)


# What is refused

OUTSIDE = "this key-value cache was filled outside the schedule; run the text again from its start with a new cache"
OTHER = "this key-value cache was filled under another schedule; run the text again from its start with a new cache"


@pytest.mark.parametrize("make", [DynamicCache, functools.partial(StaticCache, max_cache_len=30)])
def test_a_cache_filled_elsewhere_is_refused(make):
    model = make_model("llama")
    before, cache = snapshot(model), make(config=model.config)
    ids = prompt()[0]
    with torch.no_grad():
        model.module(ids, past_key_values=cache, use_cache=True)
        with pytest.raises(UsageError) as error, scheduled(model, "skip:0"):
            model.module(ids, past_key_values=cache, use_cache=True)
        assert str(error.value) == OUTSIDE
        cache = make(config=model.config)
        with scheduled(model, "skip:0"):
            model.module(ids, past_key_values=cache, use_cache=True)
        with pytest.raises(UsageError) as error, scheduled(model, "drop:0"):
            model.module(ids, past_key_values=cache, use_cache=True)
        assert str(error.value) == OTHER
        with scheduled(model, "0"):  # the same schedule by another name
            model.module(ids, past_key_values=cache, use_cache=True)
        assert cache.get_seq_length() == 16
    assert_as_it_was(model, before)


@pytest.mark.parametrize("make", [DynamicCache, functools.partial(StaticCache, max_cache_len=30)])
def test_a_cache_of_a_schedule_is_of_no_use_outside(make):
    """What the model finds there are lengths without keys, and they say so; copies and pickles do too."""
    for family in ("llama", "gemma3_text"):
        model = decoder(family)
        cache = make(config=model.config)
        with torch.no_grad():
            with scheduled(model, "skip:0"):
                model.module(prompt()[0], past_key_values=cache, use_cache=True)
            for again in (cache, copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))):
                with pytest.raises(UsageError) as error:
                    model.module(prompt()[0], past_key_values=again, use_cache=True)
                assert str(error.value) == (
                    "this key-value cache was filled under a schedule and cannot be used outside it; "
                    "run the text again from its start with a new cache"
                )
            with scheduled(model, "skip:0"):  # where it goes on as if nothing had been
                model.module(prompt()[0][:, :2], past_key_values=cache, use_cache=True)
            assert cache.get_seq_length() == prompt()[0].shape[1] + 2


def test_a_cache_of_another_kind_is_refused():
    model = make_model("llama")
    cache = DynamicCache(config=model.config, offloading=False)
    cache.offloading = True
    with pytest.raises(UsageError) as error, scheduled(model, "skip:0"):
        model.module(prompt()[0], past_key_values=cache, use_cache=True)
    assert str(error.value) == (
        "a schedule cannot use an offloaded cache, or layers of these kinds: DynamicLayer. Use the default cache."
    )


# The real one


@pytest.mark.real
def test_cached_generation_of_a_real_model(smollm2):
    """Left padded, within 1e-3 of recomputing everything."""
    tokenizer = smollm2.tokenizer
    tokenizer.padding_side = "left"
    batch = tokenizer(["The capital of France is", "Once upon a time there was a"], return_tensors="pt", padding=True)
    for spec in ("skip:12", "looped_parallel:12:loops=3", "reverse:12"):
        with scheduled(smollm2, spec) as stages:
            got = generate(smollm2, batch["input_ids"], batch["attention_mask"], max_new_tokens=4)
        wanted = next_tokens_by_hand(smollm2, stages, batch["input_ids"], batch["attention_mask"], 4)
        assert torch.equal(got[0], wanted[0])
        assert float((got[1] - wanted[1]).abs().max()) < 1e-3
