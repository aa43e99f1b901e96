"""Matrices over pairs of layers as curves over depth: each layer with the one before it, or with its like in another capture.

An analysis in, an analysis out; nothing is drawn here.
"""

import numpy as np
import xarray as xr

from layerscope.measures.derived import DERIVED
from layerscope.segmentation.similarity import is_between, pairwise_measures

__all__ = ["with_adjacent_layers"]


def with_adjacent_layers(result: xr.Dataset) -> xr.Dataset:
    """Turn those matrices of an analysis with chance or split-half reliability into variables over ``layer``.

    Of one capture, layer l gets the value with the layer before it, the first NaN; between two captures, with the layer of the
    same number, NaN where there is none. What stands beside a measure goes with it.

    Examples
    --------
    >>> dims = ("layer", "layer_other")
    >>> result = xr.Dataset({"cka": (dims, [[1.0, 0.8], [0.8, 1.0]]), "cka_null": (dims, [[0.1, 0.2], [0.2, 0.1]])})
    >>> with_adjacent_layers(result)["cka_null"].values
    array([nan, 0.2])
    """
    rows, columns, words = _places(result)
    curves = {}
    for measure in pairwise_measures(result):
        if f"{measure}_null" not in result and f"{measure}_ceiling" not in result:
            continue
        for name in (measure, *(f"{measure}_{ending}" for ending in DERIVED)):
            if name in result and result[name].dims == ("layer", "layer_other"):
                values = np.full(result.sizes["layer"], np.nan)
                values[rows] = result[name].values[rows, columns]
                attrs = result[name].attrs
                long_name = f"{attrs.get('long_name', name)}, {words}"
                curves[name] = ("layer", values, attrs | {"long_name": long_name})
    return result.assign(curves)


def _places(result: xr.Dataset) -> tuple[np.ndarray, np.ndarray, str]:
    """Return rows and columns of the cells to take, and what they are in words."""
    if not is_between(result):
        later = np.arange(1, result.sizes["layer"])
        return later, later - 1, "each layer with the one before"
    layer, other = (np.asarray(result[name].values) for name in ("layer", "layer_other"))
    _, rows, columns = np.intersect1d(layer, other, return_indices=True)
    return rows, columns, "the same layer of both captures"
