"""Sweep files: netCDF-4 through h5netcdf, written whole or not at all; and the labelled grid of their runs.

Knows Datasets and files; runs no model.
"""

import os

import pandas
import xarray

from layerscope.errors import FileError, UsageError
from layerscope.measures.files import holds, read_dataset, write_analysis

__all__ = ["holds_a_sweep", "read_sweep", "sweep_grid", "write_sweep"]


def write_sweep(dataset: xarray.Dataset, path: str | os.PathLike[str]) -> None:
    """Write a sweep file, replacing what is there only when it is complete.

    Raises
    ------
    FileError
        When it cannot be written.
    """
    write_analysis(dataset, path)


def read_sweep(path: str | os.PathLike[str]) -> xarray.Dataset:
    """Read a sweep file into memory.

    Raises
    ------
    FileError
        When it is missing, truncated or no sweep.
    """
    dataset = read_dataset(path, "sweep", "sweep")
    if "run" not in dataset.dims or "schedule" not in dataset.variables:
        raise FileError(f"{os.fspath(path)} is no sweep file: it has no dimension run\nmake one with layerscope sweep")
    return dataset


def holds_a_sweep(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file is a sweep; one that cannot be read is not, and its reader will say why."""
    return holds(path, "run", "task")


def sweep_grid(dataset: xarray.Dataset) -> xarray.Dataset:
    """Unstack the runs of a sweep to labelled axes: variant, start, seed, loops.

    An axis has -1 where a variant has no such number, so ``grid.loss.sel(variant="skip", seed=-1, loops=-1)`` is the loss of
    skip against its start. Explicit schedules and repeats, which these four do not tell apart, are left out.

    Parameters
    ----------
    dataset
        A sweep, as `layerscope.sweep` returns it or `layerscope.open_sweep` reads it.

    Returns
    -------
    xarray.Dataset
        With the dimension ``run`` replaced by ``variant``, ``start``, ``seed`` and ``loops``; NaN where nothing was run.
    """
    names = ["variant", "start", "seed", "loops"]
    if not {"run", *names} <= {*map(str, dataset.dims), *map(str, dataset.variables)}:
        raise UsageError("this is no sweep: it has no runs with variant, start, seed and loops")
    labels = pandas.MultiIndex.from_arrays([dataset[name].values for name in names], names=names)
    told_apart = ~labels.duplicated(keep=False)
    kept = dataset.isel(run=told_apart).drop_vars(names)
    index = xarray.Coordinates.from_pandas_multiindex(labels[told_apart], "run")
    return kept.assign_coords(index).unstack("run")
