"""Read, recognise and write result files: analyses, sweeps, scalings and trainings.

`layerscope.result_kinds` has the schema of each kind, and every file is checked against it before use. This module imports no
measure and no task.
"""

import os
from pathlib import Path

import numpy as np
import xarray

import layerscope.accessor  # noqa: F401 - registers result.layerscope
from layerscope.arguments import checked
from layerscope.errors import FileError
from layerscope.outputs import replace_whole
from layerscope.result_kinds import ANY_RESULT, KINDS, kind_with
from layerscope.store.file_schema import FileSchema, text_fault
from layerscope.store.hdf5 import open_dataset, open_shared, require_regular_file, translate_errors

__all__ = [
    "kind_of",
    "read_analysis",
    "read_result",
    "read_scaling",
    "read_sweep",
    "read_training",
    "write_result",
]


def kind_of(path: str | os.PathLike[str]) -> str | None:
    """Return the kind of a file: one of `layerscope.result_kinds.KINDS`, ``capture``, or None.

    An unreadable file has no kind; reading it reports the reason.
    """
    try:
        with translate_errors(path, ""):
            require_regular_file(Path(path), "result file")
            with open_shared(path) as file:
                return kind_with(frozenset(file))
    except FileError:
        return None


def read_result(path: str | os.PathLike[str], kind: str | None) -> xarray.Dataset:
    """Read a result file into memory.

    Parameters
    ----------
    path
        The file.
    kind
        One of `layerscope.result_kinds.KINDS`; None for any file written by LayerScope.

    Raises
    ------
    FileError
        The file is missing, damaged, or of another kind.
    """
    schema = KINDS[kind].schema if kind else ANY_RESULT
    actual = kind_of(path)
    if actual not in (kind, None):
        raise FileError(
            f"{os.fspath(path)} is no {schema.kind}: its kind is {actual}\n"
            f"give a file made by layerscope {schema.command}"
        )
    with translate_errors(path, schema.remedy), open_dataset(path, schema) as lazy:
        dataset = lazy.load()
        _require_plain_values(path, dataset, schema)
    return dataset


def _require_plain_values(path: str | os.PathLike[str], dataset: xarray.Dataset, schema: FileSchema) -> None:
    """Refuse text variables with other values than UTF-8 text, and file attributes other than text and numbers."""
    for name, variable in dataset.variables.items():
        if variable.dtype.kind in "OSU":
            fault = next((fault for value in variable.values.reshape(-1) if (fault := text_fault(value))), None)
            if fault:
                raise FileError(f"{path} is damaged: {name} has a value that {fault}\n{schema.remedy}")
    for name, value in dataset.attrs.items():
        if not isinstance(value, str | int | float | np.integer | np.floating):
            raise FileError(f"{path} is damaged: attribute {name} is neither text nor a number\n{schema.remedy}")


@checked
def read_analysis(path: str | os.PathLike[str]) -> xarray.Dataset:
    """Read an analysis file into memory.

    Raises
    ------
    FileError
        The file is missing, damaged, or no analysis.
    """
    return read_result(path, "analysis")


@checked
def read_sweep(path: str | os.PathLike[str]) -> xarray.Dataset:
    """Read a sweep file into memory.

    Raises
    ------
    FileError
        The file is missing, damaged, or no sweep.
    """
    return read_result(path, "sweep")


@checked
def read_scaling(path: str | os.PathLike[str]) -> xarray.Dataset:
    """Read a scaling file into memory.

    Raises
    ------
    FileError
        The file is missing, damaged, or no scaling.
    """
    return read_result(path, "scaling")


@checked
def read_training(path: str | os.PathLike[str]) -> xarray.Dataset:
    """Read a file of `layerscope.over_training` into memory.

    Raises
    ------
    FileError
        The file is missing, damaged, or of another kind.
    """
    return read_result(path, "training")


def write_result(dataset: xarray.Dataset, path: str | os.PathLike[str]) -> None:
    """Write a result to a netCDF-4 file; an existing file is replaced only by a complete one.

    Raises
    ------
    FileError
        The file cannot be written.
    """
    # In memory first: HDF5 reports a full disk badly and does not survive it, and some file systems have no locks.
    content = dataset.to_netcdf(None, engine="h5netcdf", format="NETCDF4")
    with replace_whole(Path(path)) as partial:
        partial.write_bytes(content)
