"""What a capture keeps of its texts: ids as labels, metadata, token strings, and texts given as token ids."""

import json

import h5py
import numpy as np
import pandas
import pytest
import torch
import xarray

import layerscope as ls
from layerscope.errors import CaptureError, FileError, TextsError, UsageError
from layerscope.models.loading import wrap_module
from tests.families import tiny_module
from tests.tokenizers import word_tokenizer

RECORDS = [
    {"id": "p01", "text": "w1 w2 w3", "author": "Ada", "year": 1843, "score": 0.5, "checked": True, "note": None},
    {"id": "p02", "text": "w4", "author": "Bo ß", "year": 1900, "score": None, "checked": False, "note": None},
    {"id": "p03", "text": "w5 w6", "author": None, "year": -3, "score": 2, "checked": True, "note": "x"},
]
NAMES = ("author", "year", "score", "checked", "note")


@pytest.fixture(scope="module")
def model():
    return wrap_module(tiny_module("llama"), word_tokenizer(), name="tiny")


@pytest.fixture(scope="module")
def path(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "run.h5"
    ls.capture(model, RECORDS, path, metadata=NAMES, token_strings=True)
    return path


def test_metadata_are_variables_over_sequence(path):
    with xarray.open_dataset(path, engine="h5netcdf") as plain:
        assert all(plain[name].dims == ("sequence",) for name in NAMES)
        assert plain.author.values.tolist() == ["Ada", "Bo ß", ""]
        assert (plain.year.dtype, plain.year.values.tolist()) == (np.int64, [1843, 1900, -3])
        np.testing.assert_array_equal(plain.score.values, [0.5, np.nan, 2])
        assert (plain.checked.dtype, plain.checked.values.tolist()) == (bool, [True, False, True])
        assert plain.note.values.tolist() == ["", "", "x"]
        assert plain.sequence_id.dims == ("sequence",), "the file keeps to its contract"


def test_ids_label_rows_and_sequences(model, path):
    with ls.open_capture(path) as opened, xarray.open_dataset(path, engine="h5netcdf") as plain:
        assert opened.sequence_id.dims == ("token",)
        assert opened.sequence_id.values.tolist() == ["p01"] * 3 + ["p02"] + ["p03"] * 2
        np.testing.assert_array_equal(opened.sel(sequence_id="p03").hidden, plain.hidden[4:])
        assert opened.sel(sequence="p03").year == -3
        labels = pandas.Series({"p01": "a", "p02": "b", "p03": "c"})
        assert labels[opened.sequence_id].tolist() == list("aaabcc"), "a join with labels is one line"
        neighbours = opened.hidden.isel(token=slice(1, None)) - opened.hidden.isel(token=slice(None, -1)).drop_vars(
            "position"
        )
        assert neighbours.shape == (5, *plain.hidden.shape[1:]), "rows are not aligned by their ids"
        part = opened.sel(sequence_id="p01")
        xarray.testing.assert_allclose(
            ls.analyze(part, measures=["cosine"]).cosine,
            ls.analyze(plain.isel(token=slice(3)), measures=["cosine"]).cosine,
        )


def test_token_strings_are_the_names_in_the_vocabulary(model, path):
    with xarray.open_dataset(path, engine="h5netcdf") as plain:
        expected = model.tokenizer.convert_ids_to_tokens(plain.token_id.values.tolist())
        assert plain.token_string.values.tolist() == expected
        assert plain.token_string.dims == ("token",)


def test_files_and_objects_give_the_same_capture(model, path, tmp_path):
    lines = tmp_path / "a.jsonl"
    lines.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    for number, texts in enumerate((lines, pandas.DataFrame(RECORDS).set_index("id"))):
        other = tmp_path / f"{number}.h5"
        ls.capture(model, texts, other, metadata="author,year")
        with (
            xarray.open_dataset(other, engine="h5netcdf") as got,
            xarray.open_dataset(path, engine="h5netcdf") as first,
        ):
            for name in ("hidden", "sequence_id", "author", "year"):
                xarray.testing.assert_equal(got[name], first[name])


def test_token_ids_need_no_tokenizer(model, path, tmp_path):
    bare = wrap_module(model.module, None, name="tiny")
    ids = [model.tokenizer(record["text"])["input_ids"] for record in RECORDS]
    ls.capture(bare, ids, tmp_path / "ids.h5")
    with xarray.open_dataset(tmp_path / "ids.h5", engine="h5netcdf") as got, ls.open_capture(path) as first:
        np.testing.assert_array_equal(got.hidden, first.hidden)
    with pytest.raises(TextsError, match="the text '0' needs a tokenizer"):
        ls.capture(bare, ["w1"], tmp_path / "words.h5")
    with pytest.raises(TextsError, match="has the token id 99999 at position 1"):
        ls.capture(bare, [torch.tensor([1, 99999])], tmp_path / "ids2.h5")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["ids.h5"]


def test_a_resumed_capture_has_the_same_metadata(model, tmp_path, monkeypatch):
    import layerscope.capturing.capture as module

    path, options = tmp_path / "run.h5", {"metadata": ("year", "author"), "batch_tokens": 3}

    class Stop:
        def update(self, rows):
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "_COMMIT_SECONDS", 0)
    with pytest.raises(KeyboardInterrupt):
        ls.capture(model, RECORDS, path, sinks=[Stop()], **options)
    other = [{**RECORDS[0]}, {**RECORDS[1], "author": "Cy"}, {**RECORDS[2]}]
    with pytest.raises(CaptureError, match="begun with other texts: sequence 1 has another author"):
        ls.capture(model, other, path, resume=True, **options)
    with pytest.raises(CaptureError, match="stored with metadata 'year,author', got 'author'"):
        ls.capture(model, RECORDS, path, resume=True, metadata="author", batch_tokens=3)
    ls.capture(model, RECORDS, path, resume=True, **options)
    with ls.open_capture(path) as opened:
        assert opened.year.values.tolist() == [1843, 1900, -3]


@pytest.mark.parametrize("name", ["author", "year", "score", "checked"])
def test_changed_metadata_are_found(path, tmp_path, name):
    damaged = tmp_path / "run.h5"
    damaged.write_bytes(path.read_bytes())
    with h5py.File(damaged, "r+") as file:
        value = file[name][0]
        file[name][0] = (
            b"Eve" if name == "author" else value - 0.25 if name == "score" else value + 1 if name == "year" else 0
        )
    with pytest.raises(FileError, match="its tokens or texts do not match their checksum"):
        ls.open_capture(damaged)


@pytest.mark.parametrize("metadata", ["hidden", "token", "sequence", "a/b", "", "a,,b", "a,a", "sequence_id"])
def test_names_that_cannot_be_variables_are_refused(model, metadata, tmp_path):
    with pytest.raises(UsageError, match=r"^--metadata "):
        ls.capture(model, RECORDS, tmp_path / "run.h5", metadata=metadata)


def test_a_field_that_is_not_there_is_named(model, tmp_path):
    with pytest.raises(
        TextsError, match=r"no field 'lang' \(fields: 'id', 'text', .*: name the right one with --metadata"
    ):
        ls.capture(model, RECORDS, tmp_path / "run.h5", metadata="lang")
    assert list(tmp_path.iterdir()) == []
