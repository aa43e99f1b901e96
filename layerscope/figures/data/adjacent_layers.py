"""Curves over depth from matrices over pairs of layers: each layer with the layer before, or with the same in another capture."""

import numpy as np
import xarray as xr

from layerscope.measures.derived import DERIVED
from layerscope.segmentation.analysis_matrices import is_between, pairwise_measures

__all__ = ["with_adjacent_layers"]


def with_adjacent_layers(result: xr.Dataset) -> xr.Dataset:
    """Return an analysis whose matrices with a permutation null or a split-half reliability are variables over ``layer``.

    In one capture, layer l gets its value with layer l - 1, and the first layer NaN. Between two captures, it gets its value with
    the layer of the same number, or NaN. Intervals and references of a measure are converted with it.

    Examples
    --------
    >>> dims = ("layer", "layer_other")
    >>> result = xr.Dataset({"cka": (dims, [[1.0, 0.8], [0.8, 1.0]]), "cka_null": (dims, [[0.1, 0.2], [0.2, 0.1]])})
    >>> with_adjacent_layers(result)["cka_null"].values
    array([nan, 0.2])
    """
    rows, columns, description = _places(result)
    curves = {}
    for measure in pairwise_measures(result):
        if f"{measure}_null" not in result and f"{measure}_ceiling" not in result:
            continue
        for name in (measure, *(f"{measure}_{ending}" for ending in DERIVED)):
            if name in result and result[name].dims == ("layer", "layer_other"):
                values = np.full(result.sizes["layer"], np.nan)
                values[rows] = result[name].values[rows, columns]
                attrs = result[name].attrs
                long_name = f"{attrs.get('long_name', name)}, {description}"
                curves[name] = ("layer", values, attrs | {"long_name": long_name})
    return result.assign(curves)


def _places(result: xr.Dataset) -> tuple[np.ndarray, np.ndarray, str]:
    """Return the rows and columns of the cells to take, and their description."""
    if not is_between(result):
        later = np.arange(1, result.sizes["layer"])
        return later, later - 1, "each layer with the one before"
    layer, other = (np.asarray(result[name].values) for name in ("layer", "layer_other"))
    _, rows, columns = np.intersect1d(layer, other, return_indices=True)
    return rows, columns, "the same layer of both captures"
