"""Reading: files by the raw-bits road and Datasets give the same analysis, in chunks of any size."""

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray

from layerscope.errors import FileError, MeasureError
from layerscope.measures.analysis import analyze
from layerscope.measures.catalogue import MEASURES
from layerscope.measures.passes import rows
from layerscope.measures.passes.rows import chunk_rows
from layerscope.store.opening import open_capture
from tests.measures.captures import capture, walk
from tests.store.captures import layout, write_capture

LENGTHS = [9, 1, 14, 8, 16, 100, 300]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    hidden = torch.from_numpy(walk(sum(LENGTHS), 3, 5, dtype=np.float32))
    return write_capture(tmp_path_factory.mktemp("captures") / "run.h5", hidden, layout(), lengths=LENGTHS)


def test_path_and_dataset_are_the_same(file: Path):
    names = [name for name, measure in MEASURES.items() if not measure.streams]
    by_path = analyze(file, measures=names)
    with open_capture(file) as dataset:
        by_dataset = analyze(dataset, measures=names)
    xarray.testing.assert_equal(by_path, by_dataset)
    assert by_path.attrs == by_dataset.attrs
    assert by_path.attrs["model"] == "some model — ü"


def test_a_dataset_is_analysed_as_it_stands(file: Path):
    with open_capture(file) as dataset:
        kept = np.flatnonzero(dataset["sequence_index"].to_numpy() >= 4)
        part = dataset.isel(token=kept, layer=[0, 2])
        part = part.assign(hidden=part["hidden"] ** 2)
        found = analyze(part, measures=["norm", "cosine"], bootstrap=3)
        expected = np.linalg.norm(dataset["hidden"].to_numpy()[kept][:, [0, 2]] ** 2, axis=-1).mean(0)
    assert found["layer"].values.tolist() == [0, 2]
    np.testing.assert_allclose(found["norm"], expected, rtol=1e-5)


def test_float32_sums_do_not_depend_on_chunks(monkeypatch: pytest.MonkeyPatch, file: Path):
    """Products are float32, but of single tokens: adding them up in float64 leaves the chunks no say."""
    names = ["cosine", "cosine_sequence", "norm", "max_abs", "cka", "angular_distance"]
    whole = analyze(file, measures=names)
    for size, together in ((1, 1), (2000, 16)):
        monkeypatch.setattr(rows, "_CHUNK_BYTES", size)
        monkeypatch.setattr(rows, "_STORED_TOGETHER", together)
        xarray.testing.assert_allclose(analyze(file, measures=names), whole, rtol=1e-12, atol=1e-12)


def test_gaps_between_layers_have_no_block_influence(file: Path):
    states = walk(40, 4, 5)
    result = analyze(capture(states, layer=[0, 1, 5, 6]), measures=["block_influence"])["block_influence"]
    assert np.isnan(result).values.tolist() == [True, False, True, False]


def test_chunks_stay_in_the_cache():
    assert chunk_rows(31 * 576 * 4) == 112
    assert chunk_rows(10) == 1024
    assert chunk_rows(10**9) == 16


def test_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(FileError):
        analyze(tmp_path / "none.h5")


def test_zero_states_are_left_out_of_cosines_and_counted():
    states = walk(40, 3, 5)
    states[7, 1] = 0
    result = analyze(capture(states, [20, 20]), measures=["cosine", "block_influence", "cosine_sequence", "norm"])
    rest = np.arange(40) != 7
    expected = analyze(capture(states[rest], [19, 20]), measures=["cosine", "block_influence"])
    np.testing.assert_allclose(result["cosine"], expected["cosine"], rtol=1e-12)
    np.testing.assert_allclose(result["block_influence"], expected["block_influence"], rtol=1e-12)
    assert result["cosine"].attrs["zero_state_tokens"] == 1
    assert result["cosine"].attrs["tokens"] == 39
    assert result["norm"].attrs["tokens"] == 40


@pytest.mark.parametrize("name", ["cosine", "cosine_sequence", "block_influence"])
def test_layers_of_zeros_are_refused(name: str):
    states = walk(40, 3, 5)
    states[:, 2] = 0
    with pytest.raises(
        MeasureError, match=r"layer 2 \(block.1\): \w+ has no meaning there, because it is zero in every token"
    ):
        analyze(capture(states), measures=[name])


def test_last_tokens_of_zeros():
    states = walk(40, 3, 5)
    states[19, 1] = 0
    one = analyze(capture(states, [20, 20]), measures=["angular_distance"])["angular_distance"]
    rest = analyze(capture(states[20:]), measures=["angular_distance"])["angular_distance"]
    np.testing.assert_allclose(one, rest)
    assert one.attrs["sequences"] == 1
    states[39, 0] = 0
    with pytest.raises(MeasureError, match="the last token of every sequence is zero in some layer"):
        analyze(capture(states, [20, 20]), measures=["angular_distance"])
