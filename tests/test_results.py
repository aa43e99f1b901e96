"""Result files: any netCDF reader opens them; damaged and foreign ones are refused in two lines."""

import errno
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import xarray

from layerscope.errors import FileError
from layerscope.measures.analysis import analyze
from layerscope.outputs import replace_whole
from layerscope.results import kind_of, read_analysis, read_sweep, write_result
from layerscope.store.opening import open_capture
from tests.measures.captures import capture, walk
from tests.store.captures import layout, write_capture


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


@pytest.mark.parametrize("name", ["ENOLCK", "ENOSYS", "ENOTSUP", "EOPNOTSUPP"])
def test_a_file_system_without_locks_takes_and_gives_results(
    analysis: xarray.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    write_capture(tmp_path / "run.h5", torch.ones(3, 2, 4), layout(layers=2, width=4, dtype=torch.float32), lengths=[3])
    monkeypatch.setattr(h5py.File, "__init__", refusing_locks(getattr(errno, name)))
    path = tmp_path / "analysis.nc"
    write_result(analysis, path)
    assert read_analysis(path).identical(analysis)
    with open_capture(tmp_path / "run.h5") as lazy:
        assert (lazy["hidden"].values == 1).all()
    with pytest.raises(OSError, match="no lock"):
        h5py.File(path)


def refusing_locks(number: int) -> Callable[..., None]:
    original = h5py.File.__init__

    def opening(self: h5py.File, path: str, mode: str = "r", *, locking: bool | None = None, **options: object) -> None:
        if locking is not False and isinstance(path, str | os.PathLike):  # else h5py wraps a file that is open
            raise OSError(number, "no lock")
        original(self, path, mode, locking=locking, **options)

    return opening


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
        (cut, "cut.nc is truncated"),
        (text, "text.nc is no HDF5 file, so no analysis file"),
        (foreign, "foreign.nc is no analysis file: its kind is capture"),
        (tmp_path / "none.nc", "none.nc: there is no such file"),
    ):
        with pytest.raises(FileError, match=message):
            read_analysis(path)


def changed(name: str, **options: object) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        file.create_dataset(name, **options)

    return change


DAMAGES: dict[str, tuple[Callable[[h5py.File], None], str]] = {
    "variable": (lambda file: file.__delitem__("layer"), "is no analysis file: it lacks layer"),
    "attribute": (lambda file: file.attrs.__delitem__("provenance"), "is no analysis file: it lacks provenance"),
    "type": (changed("layer_name", data=np.arange(3)), "layer_name has the type int64, expected text"),
    "shape": (changed("layer_name", data=["a", "b"]), "layer_name has 2 of layer, layer has 3"),
    "size": (
        changed("norm", shape=(2**40,), dtype="f8", chunks=(64,)),
        f"norm has the shape ({2**40},) and only 0 bytes",
    ),
    "link": (lambda file: file.__setitem__("more", h5py.ExternalLink("other.nc", "/more")), "more is a link"),
    "attribute's type": (lambda file: file.attrs.__setitem__("model", 3), "attribute model is not of type str"),
    "attribute's shape": (
        lambda file: file.attrs.__setitem__("more", [1, 2]),
        "attribute more is neither text nor a number",
    ),
    "text": (lambda file: file["layer_name"].__setitem__(0, b"\xff\xfe"), "is damaged ("),
    "dimensions": (changed("norm", data=np.zeros(3)), ""),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_damaged_files_are_refused_in_two_lines(analysis: xarray.Dataset, tmp_path: Path, what: str):
    change, said = DAMAGES[what]
    path = tmp_path / "analysis.nc"
    write_result(analysis, path)
    with h5py.File(path, "r+") as file:
        change(file)
    if not said:
        read_analysis(path)  # nothing that is used is missing: h5netcdf finds the dimension by its size
        return
    with pytest.raises(FileError) as caught:
        read_analysis(path)
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2


def test_kinds_are_told_apart_and_named(analysis: xarray.Dataset, tmp_path: Path):
    path = tmp_path / "analysis.nc"
    write_result(analysis, path)
    assert kind_of(path) == "analysis"
    with pytest.raises(
        FileError, match=r"is no sweep file: its kind is analysis\ngive a file made by layerscope sweep"
    ):
        read_sweep(path)
    (tmp_path / "text.nc").write_text("no HDF5")
    os.mkfifo(tmp_path / "pipe.nc")
    for name in ("text.nc", "pipe.nc", "none.nc"):
        assert kind_of(tmp_path / name) is None
        with pytest.raises(FileError):
            read_sweep(tmp_path / name)


def test_what_dead_writers_left_is_removed_and_nothing_of_living_ones(analysis: xarray.Dataset, tmp_path: Path):
    path, mine = tmp_path / "analysis.nc", tmp_path / "figure.svg"
    dead = multiprocessing.get_context("forkserver").Process(target=int)
    dead.start()
    dead.join()
    with replace_whole(path) as partial:
        partial.write_text("half")
        assert partial.parent == tmp_path
        named = partial.name.removesuffix(f"{os.getpid()}.part")
        left = [tmp_path / f"{named}{process}.part" for process in (dead.pid, os.getppid(), "notes")]
        foreign = [tmp_path / f".{path.name}.0badc0de.{dead.pid}.part", tmp_path / f".figure.svg.{dead.pid}.part"]
        for each in [*left, *foreign]:
            each.touch()
    write_result(analysis, path)
    assert sorted(tmp_path.iterdir()) == sorted([path, *left[1:], *foreign])
    with replace_whole(mine) as partial:
        partial.touch()
    assert mine.exists()


def test_an_attribute_that_is_no_unicode_is_refused(analysis: xarray.Dataset, tmp_path: Path):
    path = tmp_path / "analysis.nc"
    write_result(analysis, path)
    with h5py.File(path, "r+") as file:
        file["cosine"].attrs.create("long_name", b"cosin\x89", dtype=h5py.string_dtype())
    with pytest.raises(FileError, match="cosine: attribute long_name is not text in UTF-8"):
        read_analysis(path)
