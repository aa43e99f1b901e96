"""Which texts may share a batch: found at load, kept by every road, and right for each text alone."""

import h5py
import numpy as np
import pytest
import torch

import layerscope as ls
from layerscope.errors import ModelError
from layerscope.measures.model_analysis import analyze_model
from layerscope.models.length_dependence import INDEPENDENT, LengthDependence
from layerscope.models.loading import wrap_module
from layerscope.models.model import Model
from tests.families import FAMILIES, VOCABULARY, tiny_model, tiny_module
from tests.length_models import BORDER, scaled_model, state_alone
from tests.tokenizers import word_tokenizer

SCALED = pytest.mark.parametrize("scaling", ["longrope", "dynamic"])
LENGTHS = (3, 31, 8, 9, 7, 30, 31, 1)


def texts() -> list[str]:
    """Short and long texts; the long ones come before some of the short ones in any batching."""
    draw = np.random.default_rng(0)
    return [" ".join(f"w{number}" for number in draw.integers(0, VOCABULARY - 2, length)) for length in LENGTHS]


@pytest.mark.parametrize("family", FAMILIES)
def test_no_family_of_the_table_depends_on_the_batch(family):
    assert tiny_model(family).length_dependence == INDEPENDENT


@pytest.mark.parametrize(
    ("scaling", "found"),
    [
        ("longrope", LengthDependence(borders=(BORDER,))),
        ("dynamic", LengthDependence(borders=(BORDER,), grows_after=BORDER)),
        ("linear", INDEPENDENT),
        ("default", INDEPENDENT),
    ],
)
def test_the_borders_are_found(scaling, found, monkeypatch):
    assert scaled_model(scaling, monkeypatch).length_dependence == found


def test_a_neighbour_that_changes_a_text_is_found_and_kept_away():
    module = tiny_module("llama")

    def mixed(block, args, output):  # as where texts compete for room, or are normalised together
        return output + output.mean(dim=0, keepdim=True)

    module.model.layers[1].register_forward_hook(mixed)
    model = wrap_module(module, word_tokenizer(), name="mixed")
    assert model.length_dependence.alone
    assert model.length_dependence.groups(np.array([4, 4])).tolist() == [0, 1]


def test_a_model_that_remembers_earlier_texts_is_refused():
    module = tiny_module("llama")
    rotary, longest = module.model.rotary_emb, [0]

    def remembering(_, args, kwargs, output):
        longest[0] = max(longest[0], int(kwargs["position_ids"].max()))
        return output[0] * (1 + longest[0]), output[1]

    rotary.register_forward_hook(remembering, with_kwargs=True)
    with pytest.raises(ModelError, match="depend on the texts that ran before it") as error:
        wrap_module(module, word_tokenizer(), name="remembering")
    assert str(error.value).count("\n") == 1


@SCALED
@pytest.mark.parametrize("backend", ["hooks", "nnsight", "transformer-lens"])
def test_a_text_has_the_states_that_it_has_alone(scaling, backend, tmp_path, monkeypatch):
    model = scaled_model(scaling, monkeypatch)
    model.module(torch.arange(50)[None])  # which a dynamic scaling would remember
    wanted = np.concatenate([state_alone(scaling, model.tokenizer(text)["input_ids"], 3) for text in texts()])
    for budget in (1, 70, 100_000):
        ls.capture(model, texts(), tmp_path / "c.h5", backend=backend, batch_tokens=budget, overwrite=True)
        with h5py.File(tmp_path / "c.h5") as file:
            np.testing.assert_allclose(file["hidden"][:, 3], wanted, atol=1e-5 * abs(wanted).max())


def test_an_analysis_of_a_model_does_not_depend_on_its_batches(monkeypatch):
    model = scaled_model("longrope", monkeypatch)
    one, other = (analyze_model(model, texts(), measures="cosine", batch_tokens=size).cosine for size in (1, 9999))
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_steadiness():
    two = LengthDependence(borders=(8, 20))
    assert two.steady(3, 8)
    assert two.steady(9, 20)
    assert not two.steady(8, 9)
    growing = LengthDependence(borders=(8,), grows_after=8)
    assert growing.steady(12, 12)
    assert not growing.steady(12, 13)


def test_the_probe_leaves_the_model_as_it_was():
    module = tiny_module("llama").train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    model = wrap_module(module, name="tiny")
    assert isinstance(model, Model)
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
