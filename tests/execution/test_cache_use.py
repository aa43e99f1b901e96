"""Caches of any kind under a schedule: what a slot holds, what is measured of a cache, and what is refused."""

import functools

import pytest
import torch
from transformers import DynamicCache

from layerscope.errors import UsageError
from layerscope.execution import cache_use as cache_use_module
from layerscope.execution.cache_use import CacheUse, cache_use, text_dependence
from layerscope.execution.scheduled import scheduled
from layerscope.models.loading import wrap_module
from layerscope.models.model import Model
from tests.families.tiny_modules import random_module

TWICE = "0*2 1*2 2*2 3*2"
IDS = torch.arange(5, 23).reshape(2, 9)


@functools.cache
def model_of(family: str) -> Model:
    return wrap_module(random_module(family), name=family)


def generate(model: Model, spec: str, use_cache: bool, **options: object) -> torch.Tensor:
    with scheduled(model, spec), torch.no_grad():
        return model.module.generate(
            input_ids=IDS,
            attention_mask=torch.ones_like(IDS),
            max_new_tokens=5,
            do_sample=False,
            use_cache=use_cache,
            **options,
        )


@pytest.mark.parametrize(
    ("family", "steps", "parts"),
    [
        ("llama", True, True),
        ("qwen3_next", True, True),  # linear attention
        ("jamba", True, False),  # several tokens after others lose the past, without an error
        ("mamba", True, False),  # several tokens after others are an error of the library's
        ("nemotron_h", False, True),  # one token rounds otherwise than several: by more than rounding
        ("minimax", False, False),  # a cache class of its own
        ("recurrent_gemma", False, False),  # states on its modules
    ],
)
def test_what_a_cache_can_be_used_for(family: str, steps: bool, parts: bool) -> None:
    model = model_of(family)
    assert cache_use(model) == CacheUse(steps, parts)
    assert text_dependence(model).whole == (not parts)


def test_it_is_measured_once_and_under_a_schedule_too(monkeypatch: pytest.MonkeyPatch) -> None:
    model = wrap_module(random_module("llama"), name="llama")
    with scheduled(model, "skip:0"):
        assert cache_use(model) == CacheUse(True, True)
    monkeypatch.setattr(cache_use_module, "_can_step", None)
    assert cache_use(model) == CacheUse(True, True)


@pytest.mark.parametrize("family", ["qwen3_next", "falcon_h1", "longcat_flash", "deepseek_v32", "bamba"])
@pytest.mark.parametrize("spec", [TWICE, "skip:0", "(0|1|2)*2 3"])
def test_a_slot_holds_layers_of_any_kind(family: str, spec: str) -> None:
    """Recurrent states, two kinds in one layer, two layers a block, keys of an indexer; beams reorder all of them."""
    model = model_of(family)
    for options in ({}, {"num_beams": 2}):
        assert torch.equal(generate(model, spec, True, **options), generate(model, spec, False, **options))


def test_two_layers_a_block_are_both_in_its_slot() -> None:
    model = model_of("longcat_flash")
    cache = DynamicCache(config=model.config)
    with scheduled(model, TWICE), torch.no_grad():
        model.module(IDS, past_key_values=cache, use_cache=True)
    assert (
        len(cache.layers) == 2 * model.depth + 2 * model.depth * 2 + 2 * 3
    )  # counters; two a call; one prepared in vain
    kept = [layer for layer in cache.layers[2 * model.depth :] if layer.get_seq_length()]
    assert len(kept) == 2 * model.depth * 2


def test_a_cache_that_is_too_short_for_its_blocks_is_refused() -> None:
    model = model_of("longcat_flash")
    with pytest.raises(UsageError) as error, scheduled(model, TWICE), torch.no_grad():
        model.module(IDS, past_key_values=DynamicCache(), use_cache=True)
    assert str(error.value) == (
        "a block uses several layers of the cache, and this cache was made for 4 layers: "
        "use the default cache, or DynamicCache(config=…)"
    )


def test_a_cache_class_of_a_family_is_refused_by_name() -> None:
    with pytest.raises(UsageError) as error:
        generate(model_of("minimax"), TWICE, use_cache=True)
    assert str(error.value) == (
        "a schedule cannot use a cache of the class MiniMaxCache: generate without a cache (use_cache=False)"
    )


def test_a_block_that_keeps_its_past_on_modules_is_refused_with_a_cache_where_it_runs_twice() -> None:
    model = model_of("recurrent_gemma")
    said = (
        r"block 1 runs 2 times and keeps its past in temporal_block\.\S+, where the calls cannot be told apart: "
        r"generate without a cache \(use_cache=False\)"
    )
    with pytest.raises(UsageError, match=said):
        generate(model, "0 1*2 2 3", use_cache=True)
    # Where no block runs twice, the cache is right.
    assert torch.equal(generate(model, "0 2 1 3", use_cache=True), generate(model, "0 2 1 3", use_cache=False))


@pytest.mark.parametrize("family", ["mamba", "jamba"])
def test_recurrent_states_in_a_cache_equal_recomputation_under_loops(family: str) -> None:
    model = model_of(family)
    for spec in (TWICE, "0 (1|2)*2 3"):
        assert torch.equal(generate(model, spec, use_cache=True), generate(model, spec, use_cache=False))
