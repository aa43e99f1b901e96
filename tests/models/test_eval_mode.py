"""A model runs by its weights and inputs alone, whatever its flags say."""

import pytest
import torch

import layerscope as ls
from layerscope.models.eval_mode import eval_mode
from layerscope.models.loading import wrap_module
from tests.families import tiny_module
from tests.length_models import scaled_module
from tests.tokenizers import word_tokenizer

FLAGS = {
    "output_hidden_states": True,
    "_output_attentions": True,  # past its property, which asks for another attention
    "return_dict": False,
    "use_cache": False,
}


def flagged(family: str, name: str) -> torch.nn.Module:
    module = tiny_module(family)
    vars(module.config)[name] = FLAGS[name]
    return module


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("family", ["llama", "opt"])
def test_flags_of_the_configuration_change_nothing(family, name):
    plain = wrap_module(tiny_module(family), word_tokenizer(), name="x")
    model = wrap_module(flagged(family, name), word_tokenizer(), name="x")
    assert ls.generate(model, "w5 w6", "drop:1", max_new_tokens=5) == ls.generate(
        plain, "w5 w6", "drop:1", max_new_tokens=5
    )
    wanted = ls.evaluate(plain, "builtin:cloze", limit=3)["metrics"]
    assert ls.evaluate(model, "builtin:cloze", limit=3)["metrics"] == wanted
    assert vars(model.config)[name] == FLAGS[name], "put back"


@pytest.mark.parametrize("backend", ["hooks", "nnsight", "transformer-lens"])
@pytest.mark.parametrize("name", ["output_hidden_states", "return_dict"])
def test_captures_run_whatever_the_flags_say(name, backend, tmp_path):
    model = wrap_module(flagged("llama", name), word_tokenizer(), name="x")
    for schedule in ("identity", "drop:1"):
        ls.capture(model, ["w1 w2 w3"], tmp_path / f"{schedule}.h5", backend=backend, schedule=schedule)


def test_training_flags_and_hooks_are_put_back():
    module = scaled_module("dynamic").train()
    module.model.layers[1].eval()
    before = [part.training for part in module.modules()]
    with eval_mode(module):
        assert not any(part.training for part in module.modules())
    assert [part.training for part in module.modules()] == before
    assert not any(part._forward_pre_hooks for part in module.modules())


def test_a_rotary_embedding_forgets_the_longest_text():
    """Also at the border itself, where the library keeps the frequencies of a longer text."""
    module, fresh = scaled_module("dynamic"), scaled_module("dynamic")
    ids = torch.arange(2, 10)[None]
    with torch.no_grad():
        wanted = fresh(ids).logits
        module(torch.arange(40)[None])
        assert not torch.equal(module(ids).logits, wanted)
        with eval_mode(module):
            assert torch.equal(module(ids).logits, wanted)
            module(torch.arange(40)[None])
            assert torch.equal(module(ids).logits, wanted)
