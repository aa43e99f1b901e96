"""Statistics of single layers or blocks in an analysis."""

import numpy as np
import xarray as xr

from layerscope.measures.derived import is_derived

__all__ = ["layer_numbers_of", "statistics_of"]

_ORDER = ("norm", "max_abs", "variance", "participation_ratio", "effective_rank", "block_influence")


def statistics_of(result: xr.Dataset, dimension: str = "layer") -> list[str]:
    """Return the names of the statistics over ``layer`` or ``block`` of an analysis, the common ones first.

    Examples
    --------
    >>> statistics_of(xr.Dataset({"drift": ("layer", [0.5]), "norm": ("layer", [1.0]), "norm_low": ("layer", [0.9])}))
    ['norm', 'drift']
    """
    names = [
        str(name)
        for name, variable in result.data_vars.items()
        if variable.dims == (dimension,) and variable.dtype.kind in "fiu" and not is_derived(name)
    ]
    return [name for name in _ORDER if name in names] + [name for name in names if name not in _ORDER]


def layer_numbers_of(result: xr.Dataset, dimension: str) -> np.ndarray:
    """Return the numbers of the layers or blocks along a dimension; without coordinates, 0, 1, 2, …."""
    return np.asarray(result[dimension].values) if dimension in result.coords else np.arange(result.sizes[dimension])
