"""Analysis files: any netCDF reader opens them; others are refused."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray

from layerscope.errors import FileError
from layerscope.measures.analysis import analyze
from layerscope.measures.files import read_analysis, write_result
from tests.measures.captures import capture, walk


@pytest.fixture(scope="module")
def analysis() -> xarray.Dataset:
    return analyze(
        capture(walk(40, 3, 5), [10] * 4), bootstrap=5, measures=["cosine", "cka", "norm", "block_influence"]
    )


def test_round_trip(analysis: xarray.Dataset, tmp_path: Path):
    path = tmp_path / "analysis.nc"
    write_result(analysis, path)
    assert read_analysis(path).identical(analysis)
    assert [each.name for each in tmp_path.iterdir()] == ["analysis.nc"]


def test_plain_xarray_and_plain_hdf5_read_it(analysis: xarray.Dataset, tmp_path: Path):
    path = tmp_path / "analysis.nc"
    write_result(analysis, path)
    with xarray.open_dataset(path, engine="h5netcdf") as plain:
        assert plain["cosine"].dims == ("layer", "layer_other")
        np.testing.assert_array_equal(plain["cosine"], analysis["cosine"])
        for attrs in [plain.attrs, *(plain[name].attrs for name in plain.variables)]:
            assert all(isinstance(value, str | int | float | np.integer | np.floating) for value in attrs.values())
    with h5py.File(path) as file:
        assert file["cosine"].dims[0][0].name == "/layer"
        assert file["cosine"].dtype == np.float64


def test_an_existing_file_is_replaced_whole(analysis: xarray.Dataset, tmp_path: Path):
    path = tmp_path / "analysis.nc"
    path.write_text("old")
    write_result(analysis, path)
    assert read_analysis(path)["norm"].equals(analysis["norm"])


def test_what_cannot_be_written_leaves_nothing(analysis: xarray.Dataset, tmp_path: Path):
    missing = tmp_path / "missing" / "analysis.nc"
    with pytest.raises(FileError, match=r"analysis\.nc cannot be written"):
        write_result(analysis, missing)
    with pytest.raises(FileError, match="cannot be written"):
        write_result(analysis, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_truncated_and_foreign_files_are_refused(analysis: xarray.Dataset, tmp_path: Path):
    whole, cut, foreign, text = (tmp_path / name for name in ("whole.nc", "cut.nc", "foreign.nc", "text.nc"))
    write_result(analysis, whole)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    xarray.Dataset({"hidden": ("token", np.ones(3))}).to_netcdf(foreign, engine="h5netcdf")
    text.write_text("no HDF5 at all")
    for path, message in (
        (cut, "cut.nc is no analysis file, or a truncated one"),
        (text, "text.nc is no analysis file, or a truncated one"),
        (foreign, "foreign.nc is no analysis file: it has no dimension layer_other"),
        (tmp_path / "none.nc", "none.nc: there is no such file"),
    ):
        with pytest.raises(FileError, match=message):
            read_analysis(path)
