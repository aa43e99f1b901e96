import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import xarray

from layerscope.errors import FileError
from layerscope.store.header import read_header
from layerscope.store.opening import open_capture, open_source
from tests.store.captures import ATTRIBUTES, SETTINGS, layout, states, write_capture

OPENERS = [read_header, open_capture, open_source]


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    of = layout(layers=2, dtype=torch.float32)
    return write_capture(tmp_path / "whole.h5", states(100, of), of, lengths=[60, 40])


@pytest.mark.parametrize("opener", OPENERS)
def test_files_that_are_no_capture_are_refused_by_whoever_opens_them(tmp_path: Path, opener: object) -> None:
    (tmp_path / "text.h5").write_text("hidden states, honestly")
    (tmp_path / "empty.h5").touch()
    (tmp_path / "folder.h5").mkdir()
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["weights"] = np.zeros(3)
    xarray.Dataset({"cosine": (("layer", "layer_other"), np.eye(2))}).to_netcdf(
        tmp_path / "analysis.nc", engine="h5netcdf"
    )
    xarray.Dataset({"old": ("token", np.zeros(2))}).to_netcdf(tmp_path / "three.nc", engine="scipy")
    lacks = "is no LayerScope capture: it lacks hidden, "
    for name, what in {
        "text.h5": "is no HDF5 file, so no LayerScope capture",
        "empty.h5": "is empty, so no LayerScope capture",
        "folder.h5": "is a directory",
        "foreign.h5": lacks,
        "analysis.nc": lacks,
        "three.nc": "is no HDF5 file",
    }.items():
        with pytest.raises(FileError, match=re.escape(f"{tmp_path / name} {what}")) as caught:
            opener(tmp_path / name)  # type: ignore[operator]
        assert len(str(caught.value).splitlines()) <= 2
    with pytest.raises(FileError, match=re.escape(f"{tmp_path / 'none.h5'}: there is no such file")):
        opener(tmp_path / "none.h5")  # type: ignore[operator]


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_truncated_files_are_refused(whole: Path, opener: object, share: float) -> None:
    content = whole.read_bytes()
    whole.write_bytes(content[: int(share * len(content))])
    with pytest.raises(
        FileError, match=r"whole.h5 is truncated \(truncated file: .*\)\ncapture it again with --overwrite"
    ):
        opener(whole)  # type: ignore[operator]


def test_damaged_headers_are_refused_not_raised_raw(whole: Path) -> None:
    """Zeros in the first kilobytes: whatever HDF5 makes of them, it is a FileError or a readable header.

    (Not in the heap of strings that follows: there HDF5 2.0 itself never comes back.)
    """
    content = whole.read_bytes()
    refused = 0
    for start in range(0, 6144, 64):
        whole.write_bytes(content[:start] + bytes(64) + content[start + 64 :])
        try:
            read_header(whole)
        except FileError:
            refused += 1
    assert refused > 10


def test_without_permission(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(FileError, match=r"whole\.h5 cannot be read: permission denied"):
        read_header(whole)


@pytest.mark.parametrize("opener", [open_capture, open_source])
def test_unfinished_captures_are_refused_with_how_far_they_got(tmp_path: Path, opener: object) -> None:
    of = layout(layers=1, width=1)
    path = write_capture(tmp_path / "run.h5", states(12_000, of), of, batches=[np.arange(9_000)], finish=False)
    expected = (
        f"{path} is not finished (complete=0; 9,000 of 12,000 rows)\ncontinue it with layerscope capture --resume"
    )
    with pytest.raises(FileError, match=re.escape(expected)):
        opener(path)  # type: ignore[operator]
    with open_capture(path, allow_incomplete=True) as dataset:
        assert dataset.attrs["complete"] == 0
    assert read_header(path).fraction == 0.75


def test_hidden_that_holds_no_states(whole: Path) -> None:
    with h5py.File(whole, "r+") as file:
        del file["hidden"]
        file["hidden"] = np.zeros((100, 2), np.int32)
    with pytest.raises(FileError, match="hidden has the type int32, expected floats"):
        read_header(whole)


def test_what_a_header_says(whole: Path) -> None:
    header = read_header(str(whole))
    assert header.path == whole
    assert header.attributes == {**ATTRIBUTES, "complete": 1}
    assert {type(value) for value in header.attributes.values()} == {str, int}
    assert header.sizes == {"token": 100, "layer": 2, "feature": 5, "sequence": 2}
    assert header.layout == layout(layers=2, dtype=torch.float32)
    assert header.settings == SETTINGS
    assert header.file_bytes == whole.stat().st_size


def test_a_part_saved_by_xarray_is_a_capture_still(whole: Path, tmp_path: Path) -> None:
    with open_capture(whole) as dataset:
        dataset.isel(layer=[1], token=slice(10, 70)).to_netcdf(tmp_path / "part.h5", engine="h5netcdf")
        expected = dataset["hidden"].values[10:70, 1:]
    header = read_header(tmp_path / "part.h5")
    assert (header.layout.layer, header.complete, header.committed_rows, header.settings) == ((1,), True, 60, {})
    with open_source(tmp_path / "part.h5") as source:
        assert np.array_equal(source.read(0, 60).numpy(), expected)
    with open_capture(tmp_path / "part.h5") as part:
        ids = part["sequence_id"]
        assert (ids.dims, part["sequence"].values.tolist()) == (("token",), dataset["sequence"].values.tolist())
        assert part.sel(sequence_id=ids.values[0]).sizes["token"] == (ids == ids[0]).sum()


def test_a_header_can_be_read_while_this_process_has_the_file_open(whole: Path) -> None:
    with open_capture(whole) as dataset:
        assert dataset.sizes["token"] == 100
        assert read_header(whole).complete
        with open_source(whole) as source, h5py.File(whole) as plain:
            assert plain["hidden"].shape == tuple(source.read(0, 100).shape)
            assert read_header(whole).complete
