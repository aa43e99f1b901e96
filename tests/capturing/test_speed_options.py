"""Options that change how fast a capture runs: attention, compilation, tokens of a batch found on the device."""

import importlib.util

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import layerscope as ls
from layerscope.capturing.batch_size import largest_batch
from layerscope.errors import CaptureError, ModelError, UsageError
from layerscope.models.loading import wrap_module
from layerscope.store.header import read_header
from tests.cli.test_commands import run
from tests.families import tiny_module
from tests.tokenizers import word_tokenizer

TEXTS = ["w1 w2 w3 w4", "w5", "w6 w7 w8"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speed") / "model"
    tiny_module("llama").save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model():
    return wrap_module(tiny_module("llama"), word_tokenizer(), name="tiny")


def states(model, path, **options):
    ls.capture(model, TEXTS, path, **options)
    with ls.open_capture(path) as capture:
        return capture.hidden.values


@pytest.mark.parametrize("attn", ["sdpa", "eager"])
def test_attention_is_computed_as_requested(folder, tmp_path, attn):
    loaded = ls.load_model(folder, attn=attn)
    assert loaded.module.config._attn_implementation == attn
    got, plain = states(folder, tmp_path / "a.h5", attn=attn), states(folder, tmp_path / "b.h5")
    np.testing.assert_allclose(got, plain, rtol=1e-4, atol=1e-6)
    assert f'"attn": "{attn}"' in read_header(tmp_path / "a.h5").attributes["provenance"]
    with pytest.raises(CaptureError, match="attn"):
        ls.capture(folder, TEXTS, tmp_path / "b.h5", attn=attn, resume=True)


def test_attention_that_is_not_there_is_refused(folder, model):
    with pytest.raises(UsageError, match="attn"):
        ls.load_model(folder, attn="fast")
    with pytest.raises(UsageError, match="attn is set when a model is loaded by name"):
        ls.capture(model, TEXTS, "none.h5", attn="eager")
    assert importlib.util.find_spec("flash_attn") is None, "this test is for machines without it"
    with pytest.raises(ModelError, match=r"no --attn flash here: .*\nleave it out, or give another"):
        ls.load_model(folder, attn="flash")


def test_compiled_blocks_give_the_same_states(model, tmp_path, monkeypatch):
    compiled = []

    def backend(graph, inputs):
        compiled.append(graph)
        return graph.forward

    monkeypatch.setattr("layerscope.capturing.compiled._BACKEND", backend)
    for schedule in ("identity", "skip:1"):
        plain = states(model, tmp_path / f"{schedule}.h5", schedule=schedule)
        compiled.clear()
        torch._dynamo.reset()
        got = states(model, tmp_path / f"{schedule}-compiled.h5", schedule=schedule, compile=True)
        np.testing.assert_allclose(got, plain, rtol=1e-5, atol=1e-6)
        assert compiled
    assert not any("forward" in vars(block) for block in model.blocks)


def test_a_compilation_that_fails_is_said_once_and_left_out(model, tmp_path, monkeypatch):
    def backend(graph, inputs):
        raise RuntimeError("no compiler here")

    monkeypatch.setattr("layerscope.capturing.compiled._BACKEND", backend)
    torch._dynamo.reset()
    with pytest.warns(UserWarning, match=r"tiny: --compile fails \(.*\); continuing without it") as warned:
        got = states(model, tmp_path / "a.h5", compile=True)
    assert len(warned) == 1
    np.testing.assert_array_equal(got, states(model, tmp_path / "b.h5"))


@pytest.mark.parametrize("options", [{"backend": "nnsight"}, {"streams": "resid,mlp"}])
def test_compilation_is_for_the_states_between_blocks(model, options):
    with pytest.raises(UsageError, match="--compile is for --backend hooks and --streams resid"):
        ls.capture(model, TEXTS, "none.h5", compile=True, **options)


def test_tokens_of_a_batch_are_found_and_kept_on_resume(folder, tmp_path):
    path = tmp_path / "run.h5"
    (tmp_path / "a.txt").write_text("\n".join(TEXTS))
    given = ["--texts", tmp_path / "a.txt", "--output", path]
    run("capture", folder, *given, "--batch-tokens", "auto")
    assert read_header(path).settings["batch_tokens"] == 2048
    run("capture", folder, *given, "--batch-tokens", "12", "--overwrite")
    run("capture", folder, *given, "--batch-tokens", "auto", "--resume")
    assert read_header(path).settings["batch_tokens"] == 12
    _, error = run("capture", folder, "--batch-tokens", "many", "--output", tmp_path / "none.h5", code=2)
    assert "--batch-tokens 'many': give a number of 1 or more, or auto" in error


@given(each=st.integers(1, 10**6), fixed=st.integers(0, 10**6), free=st.integers(0, 10**10), length=st.integers(1, 512))
def test_the_largest_batch_fits_and_is_not_small(each, fixed, free, length):
    def need(lines):
        return fixed + each * lines

    tokens = largest_batch(need, free, length)
    assert tokens % length == 0 or tokens == 2**17
    lines = tokens // length
    assert lines == 1 or need(lines) <= 0.8 * free + each
    assert tokens >= 2**17 - length or need(lines + 2) > 0.8 * free or lines == 1
