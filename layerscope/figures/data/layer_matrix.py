"""Names and numbers of the axes of a matrix over pairs of layers."""

import numpy as np
import xarray as xr

from layerscope.measures.catalogue import MEASURES
from layerscope.stream_names import axis_word

__all__ = ["axis_numbers", "compares_two", "layer_axis_names", "measure_name"]


def compares_two(matrix: xr.DataArray) -> bool:
    """Return whether rows and columns are layers of different captures.

    In a matrix of one capture, an asymmetric measure has its `self_value` on the diagonal. A matrix of any other measure
    belongs to one capture if it is symmetric.
    """
    values = np.asarray(matrix, dtype=np.float64)
    if values.shape[0] != values.shape[1] or not np.array_equal(axis_numbers(matrix, 0), axis_numbers(matrix, 1)):
        return True
    known = MEASURES.get(str(matrix.name))
    if known is not None and known.self_value is not None and not known.symmetric:
        return not np.allclose(values.diagonal(), known.self_value, rtol=0.0, atol=1e-6, equal_nan=True)
    return not np.allclose(values, values.T, rtol=0.0, atol=1e-6, equal_nan=True)


def layer_axis_names(matrix: xr.DataArray, dimension: int, two: bool) -> list[str]:
    """Return names of the axis of rows (0) or columns (1), longest first."""
    what = axis_word(matrix.attrs)
    whose = (" of the first capture", " of the second capture")[dimension] if two else ""
    hint = " (0 = embedding)" if what == "layer" and 0 in axis_numbers(matrix, dimension) else ""
    return [f"{what}{whose}{hint}", f"{what}{whose}", what]


def measure_name(matrix: xr.DataArray) -> str:
    """Return the name of a measure for a colour bar or an axis."""
    return str(matrix.attrs.get("long_name") or matrix.name or "similarity")


def axis_numbers(matrix: xr.DataArray, dimension: int) -> np.ndarray:
    """Return the layer numbers of the rows (0) or columns (1)."""
    name = matrix.dims[dimension]
    return np.asarray(matrix.coords[name].values) if name in matrix.coords else np.arange(matrix.shape[dimension])
