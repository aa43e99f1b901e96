"""Result files: netCDF-4 through h5netcdf, written whole or not at all, and told apart by what they hold.

This module knows Datasets and files, and what an analysis is told by; it knows no measure.
"""

import os

import h5py
import xarray

import layerscope.accessor  # noqa: F401 - makes result.layerscope known
from layerscope.arguments import checked
from layerscope.errors import FileError, missing_file

__all__ = ["holds", "read_analysis", "read_dataset", "read_result", "write_result"]


def write_result(dataset: xarray.Dataset, path: str | os.PathLike[str]) -> None:
    """Write a result to a netCDF-4 file, replacing what is there only when it is complete.

    Raises
    ------
    FileError
        When it cannot be written.
    """
    path = os.fspath(path)
    partial = f"{path}.partial"
    try:
        dataset.to_netcdf(partial, engine="h5netcdf", format="NETCDF4")
        os.replace(partial, path)
    except OSError as error:
        raise FileError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        if os.path.exists(partial):
            os.unlink(partial)


@checked
def read_analysis(path: str | os.PathLike[str]) -> xarray.Dataset:
    """Read an analysis file into memory.

    Raises
    ------
    FileError
        When it is missing, truncated or no analysis.
    """
    return read_result(path, "analysis", "analyze", dimension="layer_other", mark="provenance")


def read_result(path: str | os.PathLike[str], kind: str, command: str, *, dimension: str, mark: str) -> xarray.Dataset:
    """Read a result file of one kind into memory: it has a dimension, and a variable or attribute, that tell it from others.

    Parameters
    ----------
    path
        Of the file.
    kind, command
        As for `read_dataset`.
    dimension, mark
        What files of this kind have.

    Raises
    ------
    FileError
        When it is missing, truncated or of another kind.
    """
    dataset = read_dataset(path, kind, command)
    if dimension not in dataset.dims or not (mark in dataset.variables or mark in dataset.attrs):
        raise FileError(
            f"{os.fspath(path)} is no {kind} file: it has no dimension {dimension}\nmake one with layerscope {command}"
        )
    return dataset


def holds(path: str | os.PathLike[str], *names: str) -> bool:
    """Tell whether a file has all these dimensions or variables; one that cannot be read has none, and its reader says why."""
    try:
        with h5py.File(path, "r") as content:
            return all(name in content for name in names)
    except OSError:
        return False


def read_dataset(path: str | os.PathLike[str], kind: str, command: str) -> xarray.Dataset:
    """Read a netCDF-4 file into memory; `kind` and `command` say in errors what it should be and what makes one.

    Raises
    ------
    FileError
        When it is missing or cannot be read.
    """
    path = os.fspath(path)
    if not os.path.exists(path):
        raise FileError(missing_file(path))
    if os.path.isdir(path):
        raise FileError(f"{path} is a directory, no {kind} file: give the file in it")
    try:
        with xarray.open_dataset(path, engine="h5netcdf") as lazy:
            return lazy.load()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileError(
            f"{path} is no {kind} file, or a truncated one ({error})\nmake it again with layerscope {command}"
        ) from error
