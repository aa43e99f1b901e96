"""Scaling files: netCDF-4 through h5netcdf, written whole or not at all.

Knows Datasets and files; compares nothing.
"""

import os

import xarray

from layerscope.errors import FileError
from layerscope.measures.files import holds, read_dataset, write_analysis

__all__ = ["holds_a_scaling", "read_scaling", "write_scaling"]


def write_scaling(dataset: xarray.Dataset, path: str | os.PathLike[str]) -> None:
    """Write a scaling file, replacing what is there only when it is complete.

    Raises
    ------
    FileError
        When it cannot be written.
    """
    write_analysis(dataset, path)


def read_scaling(path: str | os.PathLike[str]) -> xarray.Dataset:
    """Read a scaling file into memory.

    Raises
    ------
    FileError
        When it is missing, truncated or no scaling.
    """
    dataset = read_dataset(path, "scaling", "scaling")
    if "reading" not in dataset.dims or "size" not in dataset.variables:
        raise FileError(
            f"{os.fspath(path)} is no scaling file: it has no dimension reading\nmake one with layerscope scaling"
        )
    return dataset


def holds_a_scaling(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file is a scaling; one that cannot be read is not, and its reader will say why."""
    return holds(path, "reading", "size_bootstrap")
