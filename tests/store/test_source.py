import os
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import xarray

from layerscope.errors import FileError
from layerscope.store.capture_source import CaptureSource
from layerscope.store.dataset_source import DatasetSource
from layerscope.store.opening import open_capture, open_source
from layerscope.store.source import StateSource
from tests.store.captures import ATTRIBUTES, layout, states, write_capture


@pytest.fixture(params=[torch.float32, torch.float16, torch.bfloat16], ids=str)
def capture(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, torch.Tensor]:
    of = layout(dtype=request.param)
    hidden = states(700, of)
    return write_capture(tmp_path / "run.h5", hidden, of, lengths=[300, 400]), hidden.to(request.param).float()


def test_a_file_and_its_dataset_are_the_same_source(capture: tuple[Path, torch.Tensor]) -> None:
    path, expected = capture
    with open_capture(path) as dataset, open_source(path) as raw, open_source(dataset) as plain:
        assert isinstance(raw, CaptureSource) and isinstance(plain, DatasetSource)  # noqa: PT018
        for source, name in ((raw, str(path)), (plain, "dataset")):
            assert isinstance(source, StateSource)
            assert (source.name, source.layer_name, source.width) == (name, ["embedding", "block.0", "block.1"], 5)
            assert (source.layer.tolist(), source.layer.dtype) == ([0, 1, 2], np.int64)
            assert source.sequence_index.tolist() == [0] * 300 + [1] * 400
            assert source.position.tolist() == [*range(300), *range(400)]
            assert source.token_id.tolist() == [*range(300), *range(1000, 1400)]
            assert source.attrs == {**ATTRIBUTES, "complete": 1}
            assert source.dtype == torch.float32
            for start, stop in ((0, 700), (0, 0), (0, 1), (255, 257), (699, 700), (700, 700), (100, 612)):
                rows = source.read(start, stop)
                assert rows.dtype == torch.float32
                assert torch.equal(rows, expected[start:stop])


def test_rows_go_where_they_are_wanted(capture: tuple[Path, torch.Tensor]) -> None:
    path, expected = capture
    with open_capture(path) as dataset, open_source(path) as raw, open_source(dataset) as plain:
        for source in (raw, plain):
            room = torch.full((40, 3, 5), torch.nan)
            assert source.read(250, 290, out=room) is room
            assert torch.equal(room, expected[250:290])
            turned = torch.full((5, 3, 40), torch.nan).permute(2, 1, 0)
            assert torch.equal(source.read(0, 40, out=turned), expected[:40])
            part = torch.full((50, 3, 5), torch.nan)
            source.read(0, 40, out=part[:40])
            assert torch.equal(part[:40], expected[:40])
            assert part[40:].isnan().all()


def test_what_was_read_before_stays_as_it_was(capture: tuple[Path, torch.Tensor]) -> None:
    path, expected = capture
    with open_source(path) as source:
        first = source.read(0, 10)
        source.read(10, 20)
        with torch.inference_mode():
            source.read(0, 300)
        source.read(300, 700)
        assert torch.equal(first, expected[:10])


def test_rows_that_are_not_there(capture: tuple[Path, torch.Tensor]) -> None:
    with open_source(capture[0]) as source:
        for start, stop in ((-1, 2), (3, 2), (0, 701)):
            with pytest.raises(IndexError, match=f"rows {start} to {stop} of 700"):
                source.read(start, stop)


def computed(**changes: object) -> xarray.Dataset:
    """Make a Dataset no file ever held: float64, its axes in another order."""
    variables = {
        "hidden": (("feature", "token", "layer"), np.arange(24.0).reshape(4, 3, 2) / 3),
        "layer": ("layer", [0, 6]),
        "layer_name": ("layer", ["embedding", "block.5"]),
        "sequence_index": ("token", [0, 0, 5]),
        "position": ("token", [0, 1, 0]),
        "token_id": ("token", [7, 8, 9]),
        **changes,
    }
    attributes = {"model": "mine", "depth": np.int64(6), "scale": 0.5, "list": [1]}
    return xarray.Dataset({name: v for name, v in variables.items() if v is not None}, attrs=attributes)


def test_a_dataset_is_read_as_it_stands() -> None:
    source = open_source(computed())
    assert source.dtype == torch.float64
    expected = np.arange(24.0).reshape(4, 3, 2).transpose(1, 2, 0)[1:] / 3
    assert np.array_equal(source.read(1, 3).numpy(), expected)
    assert source.attrs == {"model": "mine", "depth": 6, "scale": 0.5}
    assert (source.layer.tolist(), source.layer_name) == ([0, 6], ["embedding", "block.5"])


def test_reading_a_dataset_never_gives_its_own_memory_away() -> None:
    dataset = computed(hidden=(("token", "layer", "feature"), np.zeros((3, 2, 4), np.float32)))
    open_source(dataset).read(0, 3).fill_(1)
    assert not dataset["hidden"].values.any()


def test_half_floats_of_a_dataset_are_widened() -> None:
    dataset = computed(hidden=(("token", "layer", "feature"), np.ones((3, 2, 4), np.float16)))
    assert open_source(dataset).read(0, 3).dtype == torch.float32


@pytest.mark.parametrize("name", ["hidden", "layer", "layer_name", "sequence_index", "position", "token_id"])
def test_a_dataset_that_lacks_something(name: str) -> None:
    with pytest.raises(FileError, match=re.escape(f"the dataset lacks '{name}'\ngive one opened with open_capture")):
        open_source(computed(**{name: None}))


def test_a_dataset_of_another_shape() -> None:
    one_layer = computed().isel(layer=0)
    with pytest.raises(FileError, match=re.escape("the dataset has hidden on ('feature', 'token'), expected")):
        open_source(one_layer)
    with pytest.raises(FileError, match="hidden as int64, expected floats"):
        open_source(computed(hidden=(("token", "layer", "feature"), np.zeros((3, 2, 4), np.int64))))


def test_a_file_packed_by_another_program_is_read_all_the_same(tmp_path: Path) -> None:
    of = layout(dtype=torch.float32)
    hidden = states(300, of)
    path = write_capture(tmp_path / "run.h5", hidden, of)
    for options in ({"compression": "gzip"}, {"chunks": (100, 3, 5)}, {"chunks": None}, {"dtype": ">f4"}):
        with h5py.File(path, "r+") as file:
            del file["hidden"]
            file.create_dataset("hidden", data=hidden.numpy(), **{"chunks": (256, 1, 5), **options})
        with open_source(path) as source:
            assert torch.equal(source.read(250, 290), hidden[250:290])


def test_a_file_cut_short_while_it_is_read(tmp_path: Path) -> None:
    of = layout(dtype=torch.float32, width=512)
    path = write_capture(tmp_path / "run.h5", states(600, of), of)
    with open_source(path) as source:
        os.truncate(path, 500_000)
        with pytest.raises(
            FileError, match=r"rows 0 to 600 cannot be read \(the file ends before its rows do\)\ncapture it"
        ):
            source.read(0, 600)


def test_a_closed_source_reads_nothing(tmp_path: Path) -> None:
    of = layout()
    source = open_source(write_capture(tmp_path / "run.h5", states(6, of), of))
    source.close()
    source.close()
    with pytest.raises(ValueError, match=r"run\.h5 is closed"):
        source.read(0, 6)


def test_a_disk_that_gives_a_part_at_a_time(
    capture: tuple[Path, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = os.preadv
    monkeypatch.setattr("os.preadv", lambda file, into, offset: whole(file, [into[0][:7]], offset))
    with open_source(capture[0]) as source:
        assert torch.equal(source.read(100, 300), capture[1][100:300])


@pytest.mark.parametrize(("variable", "name"), [("hidden", "add_offset"), ("position", "scale_factor")])
def test_values_that_xarray_would_change_are_refused(
    capture: tuple[Path, torch.Tensor], variable: str, name: str
) -> None:
    with h5py.File(capture[0], "r+") as file:
        file[variable].attrs[name] = 5.0
    with pytest.raises(FileError, match=f"{variable}: attribute {name} packs or masks its values"):
        open_source(capture[0])


def test_values_that_xarray_leaves_as_they_are_are_read(capture: tuple[Path, torch.Tensor]) -> None:
    path, expected = capture
    with h5py.File(path, "r+") as file:
        file["hidden"].attrs["scale_factor"], file["hidden"].attrs["_FillValue"] = 1.0, np.nan
    with open_source(path) as source:
        assert torch.equal(source.read(0, 9), expected[:9])
