"""What attention and MLP add: measured as states are, and as sizes and directions of each block."""

from pathlib import Path

import numpy as np
import pytest
import xarray

import layerscope as ls
from layerscope.errors import FileError, MeasureError, UsageError
from layerscope.measures.analysis import analyze
from layerscope.models.loading import wrap_module
from tests.families import tiny_module
from tests.tokenizers import word_tokenizer

TEXTS = ["w1 w2 w3 w4 w5", "w6 w7", "w8 w9 w10 w11"]
RATIOS = ["attn_ratio", "mlp_ratio", "update_ratio", "attn_cosine", "mlp_cosine", "update_cosine"]


@pytest.fixture(scope="module")
def model():
    return wrap_module(tiny_module("llama"), word_tokenizer(), name="tiny")


@pytest.fixture(scope="module")
def path(model, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("streams") / "run.h5"
    ls.capture(model, TEXTS, path, streams="resid,attn,mlp")
    return path


@pytest.mark.parametrize("stream", ["attn", "mlp"])
def test_a_stream_is_measured_as_states_are(model, path, stream):
    measures = ["cosine", "cka_biased", "norm", "variance"]
    with xarray.open_dataset(path, engine="h5netcdf") as capture:
        states = capture.drop_vars(["hidden", "attn_out", "mlp_out", "layer", "layer_name", "block", "block_name"])
        states = states.assign(hidden=(("token", "layer", "feature"), capture[f"{stream}_out"].values))
        states = states.assign_coords(layer=capture.block.values, layer_name=("layer", capture.block_name.values))
        expected = analyze(states, measures=measures)
    found = analyze(path, measures=measures, stream=stream)
    assert found.layer.values.tolist() == list(range(model.depth))
    assert found.attrs["stream"] == stream
    for name in measures:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-6)
        assert found[name].attrs["stream"] == stream
    without_file = ls.analyze_model(model, TEXTS, measures=measures, stream=stream)
    for name in measures:
        np.testing.assert_allclose(without_file[name], found[name], rtol=1e-5, atol=1e-6)


def test_sizes_and_directions_of_what_blocks_add(model, path):
    found = analyze(path, measures=RATIOS, bootstrap=40)
    with xarray.open_dataset(path, engine="h5netcdf") as capture:
        before = capture.hidden.values[:, :-1].astype(float)
        added = {
            "attn": capture.attn_out.values,
            "mlp": capture.mlp_out.values,
            "update": capture.hidden.values[:, 1:] - before,
        }
    size = np.linalg.norm(before, axis=-1)
    for name, values in added.items():
        length = np.linalg.norm(values, axis=-1)
        np.testing.assert_allclose(found[f"{name}_ratio"], (length / size).mean(0), rtol=1e-5)
        cosine = ((values * before).sum(-1) / length / size).mean(0)
        np.testing.assert_allclose(found[f"{name}_cosine"], cosine, rtol=1e-4, atol=1e-6)
        for ending in ("ratio", "cosine"):
            value = found[f"{name}_{ending}"]
            assert value.dims == ("block",)
            assert (found[f"{name}_{ending}_low"] <= value).all()
            assert (value <= found[f"{name}_{ending}_high"]).all()
    assert found.block_name.values.tolist() == [f"block.{number}" for number in range(model.depth)]


def test_updates_need_the_residual_stream_alone(model, tmp_path):
    ls.capture(model, TEXTS, tmp_path / "run.h5")
    found = analyze(tmp_path / "run.h5", measures=["update_ratio", "update_cosine"])
    assert found.update_ratio.sizes["block"] == model.depth
    with pytest.raises(FileError, match=r"does not hold the stream attn.*\n.*--streams resid,attn"):
        analyze(tmp_path / "run.h5", measures=["attn_ratio"])
    with pytest.raises(FileError, match="does not hold the stream mlp"):
        analyze(tmp_path / "run.h5", stream="mlp")


def test_blocks_are_named_blocks(path):
    assert analyze(path, stream="attn", measures=["norm"]).layer.attrs["long_name"] == "block"
    assert analyze(path, measures=["norm"]).layer.attrs["long_name"] == "state"
    with xarray.open_dataset(path, engine="h5netcdf") as file:
        capture = file.load()
    capture["attn_out"][:, 1] = 0.0
    capture["hidden"][:, 1] = 0.0
    for stream, name in (("attn", r"block 1 \(block\.1\)"), ("resid", r"layer 1 \(block\.0\)")):
        with pytest.raises(MeasureError, match=name):
            analyze(capture, stream=stream, measures=["cosine"])


def test_wrong_use(path):
    with pytest.raises(UsageError, match="unknown stream 'attention'"):
        analyze(path, stream="attention")
    with pytest.raises(UsageError, match="attn_ratio compare with the residual stream: leave out --stream mlp"):
        analyze(path, stream="mlp", measures=["attn_ratio"])
