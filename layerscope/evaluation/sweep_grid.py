"""The labelled grid of the runs of a sweep. Knows Datasets; runs no model."""

import pandas
import xarray

from layerscope.arguments import checked
from layerscope.datasets import require_variables

__all__ = ["sweep_grid"]


@checked
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
    require_variables(
        dataset,
        "sweep: make one with layerscope sweep, or ls.sweep",
        dict.fromkeys(names, ("run",)),
        required=names,
        text=["variant"],
    )
    labels = pandas.MultiIndex.from_arrays([dataset[name].values for name in names], names=names)
    told_apart = ~labels.duplicated(keep=False)
    kept = dataset.isel(run=told_apart).drop_vars(names)
    index = xarray.Coordinates.from_pandas_multiindex(labels[told_apart], "run")
    return kept.assign_coords(index).unstack("run")
