"""A model analysed as it runs gives what its capture, analysed, gives."""

import json

import numpy as np
import pytest
import xarray

import layerscope as ls
from layerscope.errors import MeasureError, ScheduleError, UsageError
from layerscope.models.loading import wrap_module
from tests.families import tiny_module
from tests.measures.estimators.test_estimator import few_rows
from tests.tokenizers import word_tokenizer

TEXTS = [" ".join(f"w{(n * k + k) % 90}" for k in range(2, 6 + n)) for n in range(14)]


@pytest.fixture(scope="module")
def model():
    return wrap_module(tiny_module("gpt_neox"), word_tokenizer(), name="tiny")


@pytest.mark.parametrize(
    ("capturing", "analysing"),
    [
        ({}, {}),
        ({"batch_tokens": 40, "limit": 9, "seed": 3}, {"exclude_first": 1, "bootstrap": 12, "seed": 3}),
        ({"schedule": "3 0 (1|2)"}, {"measures": ["cosine", "cka_biased", "block_influence"], "bootstrap": 8}),
        (
            {"layers": "0,2-4", "tokens": "sample:3", "seed": 5},
            {"measures": ["procrustes", "norm", "angular_distance"], "seed": 5},
        ),
    ],
    ids=str,
)
def test_equals_capture_and_analyze(model, tmp_path, capturing, analysing):
    ls.capture(model, TEXTS, tmp_path / "run.h5", **capturing)
    expected = ls.analyze(tmp_path / "run.h5", **analysing)
    found = ls.analyze_model(model, TEXTS, **(capturing | analysing))
    xarray.testing.assert_allclose(found, expected, rtol=1e-6)
    assert {name: found[name].attrs for name in found} == {name: expected[name].attrs for name in expected}
    said, wanted = (dict(one.attrs) for one in (found, expected))
    made, by = (json.loads(one.pop("provenance")) for one in (said, wanted))
    assert said.keys() == wanted.keys()
    assert all(said[name] == pytest.approx(value) for name, value in wanted.items())
    assert made == by
    assert found.attrs["parameters"] == sum(one.numel() for one in model.module.parameters())


def test_from_a_folder_in_half_precision(tmp_path):
    tiny_module("llama").save_pretrained(tmp_path / "model")
    word_tokenizer().save_pretrained(tmp_path / "model")
    ls.capture(tmp_path / "model", TEXTS, tmp_path / "run.h5", dtype="bfloat16")
    found = ls.analyze_model(tmp_path / "model", TEXTS, dtype="bfloat16")
    xarray.testing.assert_allclose(found, ls.analyze(tmp_path / "run.h5"), rtol=1e-6)


def test_more_tokens_than_are_held_are_sampled_and_said(model, monkeypatch):
    few_rows(monkeypatch, exact=40)
    found = ls.analyze_model(model, TEXTS)
    tokens = sum(len(text.split()) for text in TEXTS)
    assert found["cosine"].attrs["tokens"] == tokens > 40
    for name in ("cka", "cosine_centered"):
        assert (found[name].attrs["tokens"], found[name].attrs["sample"]) == (40, 40)
        assert "of a seeded sample" in found[name].attrs["estimator"]
        assert np.isfinite(found[name]).all()


def test_refusals_come_before_the_model():
    with pytest.raises(UsageError, match="unknown measure 'cosin'"):
        ls.analyze_model("no/such/model", TEXTS, measures=["cosin"])
    with pytest.raises(UsageError, match="--memory is 'much'"):
        ls.analyze_model("no/such/model", TEXTS, memory="much")


def test_refusals_of_the_model_and_its_texts(model):
    with pytest.raises(ScheduleError, match="start 2 leaves no block affected"):
        ls.analyze_model(model, TEXTS, schedule="skip:2")
    with pytest.raises(MeasureError, match="no token was captured: nothing to analyse"):
        ls.analyze_model(model, TEXTS, exclude_first=50)
