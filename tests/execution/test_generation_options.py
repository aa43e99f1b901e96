"""`generate` does what its own options say: nothing of what a checkpoint, a configuration or a tokenizer brings along."""

import pytest
import torch
from tokenizers.processors import TemplateProcessing

import layerscope as ls
from layerscope.errors import ModelError, TextsError, UsageError
from layerscope.execution.scheduled import scheduled
from layerscope.models.loading import wrap_module
from layerscope.models.model import Model
from tests.families import VOCABULARY, tiny_module
from tests.length_models import BORDER, logits_alone, scaled_model
from tests.tokenizers import word_tokenizer

PROMPT, NEW = "w5 w6", 12
FOREIGN = {
    "repetition_penalty": 1.5,
    "num_beams": 3,
    "no_repeat_ngram_size": 1,
    "max_length": 4,
    "max_new_tokens": 2,
    "min_length": 30,
    "min_new_tokens": 30,
    "forced_eos_token_id": 3,
    "forced_bos_token_id": 3,
    "top_k": 1,
    "top_p": 0.01,
    "temperature": 0.01,
    "do_sample": True,
    "cache_implementation": "static",
    "use_cache": False,
    "return_dict_in_generate": True,
    "output_scores": True,
    "exponential_decay_length_penalty": (1, 2.0),
    "num_return_sequences": 2,
    "pad_token_id": 9,
    "renormalize_logits": True,
}


def model_of(module: torch.nn.Module) -> Model:
    return wrap_module(module, word_tokenizer(), name="x")


def greedy(model: Model, prompt: str, new: int, spec: str = "identity") -> list[int]:
    """Take the likeliest token again and again, everything computed anew each time."""
    ids = list(model.tokenizer(prompt)["input_ids"])
    begin = len(ids)
    with scheduled(model, spec), torch.no_grad():
        for _ in range(new):
            ids.append(int(model.module(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
    return ids[begin:]


def text(model: Model, ids: list[int]) -> str:
    return " ".join(model.tokenizer.convert_ids_to_tokens(ids))


@pytest.mark.parametrize("spec", ["identity", "looped_parallel:0:loops=2"])
@pytest.mark.parametrize("name", [*FOREIGN, "all of them", "suppress_tokens", "begin_suppress_tokens", "bad_words_ids"])
def test_defaults_of_a_checkpoint_change_nothing(name, spec):
    module = tiny_module("llama")
    model = model_of(module)
    ids = greedy(model, PROMPT, NEW, spec)
    tokens = {"suppress_tokens": ids, "begin_suppress_tokens": ids, "bad_words_ids": [[token] for token in ids]}
    foreign = FOREIGN | tokens if name == "all of them" else {name: (FOREIGN | tokens)[name]}
    for option, value in foreign.items():
        setattr(module.generation_config, option, value)
    defaults = module.generation_config
    assert ls.generate(model, PROMPT, spec, max_new_tokens=NEW) == text(model, ids)
    assert module.generation_config is defaults
    assert all(getattr(defaults, option) == value for option, value in foreign.items())


def test_a_configuration_with_generation_options_changes_nothing():
    module = tiny_module("llama")
    model = model_of(module)
    module.config.repetition_penalty = 1.9
    module.config.num_beams = 2
    assert ls.generate(model, PROMPT, max_new_tokens=NEW) == text(model, greedy(model, PROMPT, NEW))


def test_dropout_is_off():
    module = tiny_module("gpt2")
    model = model_of(module)
    wanted = ls.generate(model, PROMPT, max_new_tokens=NEW)
    module.train()
    assert {ls.generate(model, PROMPT, max_new_tokens=NEW) for _ in range(3)} == {wanted}
    assert module.training


def test_a_draw_is_from_the_whole_vocabulary():
    """Also from what the library would leave out beyond the first 50."""
    module = tiny_module("llama")
    model = model_of(module)
    module.lm_head.weight.data.zero_()  # every token is as likely
    drawn = {
        token
        for seed in range(6)
        for token in ls.generate(model, PROMPT, max_new_tokens=50, temperature=1.0, seed=seed).split()
    }
    expected = VOCABULARY * (1 - (1 - 1 / VOCABULARY) ** 300)
    assert abs(len(drawn) - expected) < 5


def test_a_text_ends_where_the_checkpoint_says():
    module = tiny_module("llama")
    model = model_of(module)
    ids = greedy(model, PROMPT, NEW)
    first, later = ids[2], next(token for token in ids[3:] if token not in ids[:3])
    for end, shown in (
        (None, ids),
        (first, ids[: ids.index(first)]),
        ([later, first], ids[: ids.index(first)]),
        ([later], ids[: ids.index(later)]),
        ([], ids),
    ):
        module.generation_config.eos_token_id = end
        assert ls.generate(model, PROMPT, max_new_tokens=NEW) == text(model, shown)
        assert module.generation_config.eos_token_id == end


def test_special_tokens_within_a_text_are_shown():
    model = model_of(tiny_module("llama"))
    ids = greedy(model, PROMPT, NEW)
    model.tokenizer.add_special_tokens({"additional_special_tokens": [text(model, ids[4:5])]})
    assert ls.generate(model, PROMPT, max_new_tokens=NEW).split() == text(model, ids).split()


@pytest.mark.parametrize("template", ["$A w94", "w93 $A w94", "w93 $A"])
def test_an_end_that_the_tokenizer_appends_is_dropped(template):
    model = model_of(tiny_module("llama"))
    begins = "w93 " if template.startswith("w93") else ""
    wanted = text(model, greedy(model, begins + PROMPT, NEW))
    pieces = [(token, model.tokenizer.convert_tokens_to_ids(token)) for token in ("w93", "w94")]
    model.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=template, special_tokens=pieces)
    assert ls.generate(model, PROMPT, max_new_tokens=NEW) == wanted


@pytest.mark.parametrize("scaling", ["longrope", "dynamic"])
@pytest.mark.parametrize("length", [3, BORDER, BORDER + 1, 20])
def test_a_text_that_outgrows_a_border_is_computed_anew(scaling, length, monkeypatch):
    model = scaled_model(scaling, monkeypatch)
    ids = list(range(5, 5 + length))
    prompt = text(model, ids)
    for _ in range(10):
        ids.append(int(logits_alone(scaling, ids)[-1].argmax()))
    assert ls.generate(model, prompt, max_new_tokens=10) == text(model, ids[length:])


def test_a_prompt_with_a_token_that_the_model_has_no_row_for_is_refused():
    tokenizer = word_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    model = wrap_module(tiny_module("llama"), tokenizer, name="tiny")
    with pytest.raises(
        ModelError, match=f"the tokenizer gave the id {VOCABULARY}, and the model's embedding has {VOCABULARY}"
    ):
        ls.generate(model, "w5 <image>")


def test_a_temperature_below_what_logits_can_be_divided_by_is_refused():
    model = model_of(tiny_module("llama"))
    with pytest.raises(UsageError, match=r"temperature 1e-40: give at least 0\.0001, or 0 for the most likely token"):
        ls.generate(model, "w5", temperature=1e-40)
    assert ls.generate(model, "w5", max_new_tokens=3, temperature=1e-4) == ls.generate(model, "w5", max_new_tokens=3)


def test_a_prompt_that_is_no_unicode_is_refused():
    with pytest.raises(TextsError, match="the prompt"):
        ls.generate(model_of(tiny_module("llama")), "w5 \ud800")
