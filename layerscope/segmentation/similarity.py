"""Return the matrix of one measure of an analysis as a similarity.

An analysis contains similarities, where a layer with itself is 1, and distances, where it is 0. `similarity_of` returns
either as a similarity, which `layerscope.segmentation.segmentation.segment` accepts.
"""

import numpy as np
import xarray as xr

from layerscope.arguments import checked
from layerscope.errors import MeasureError
from layerscope.measures.catalogue import MEASURES
from layerscope.segmentation.analysis_matrices import measure_matrix, upper_end
from layerscope.segmentation.segmentation import Segmentation, segment

__all__ = ["is_distance", "replicates_of", "segment_measure", "similarity_of", "within_chance"]


def is_distance(matrix: xr.DataArray) -> bool:
    """Return whether a matrix is a distance, from the record of the measure that it is named after.

    A matrix of an unknown measure is a distance if it is 0 between a layer and itself, and more elsewhere.

    Examples
    --------
    >>> is_distance(xr.DataArray([[0.0, 0.4], [0.4, 0.0]])), is_distance(xr.DataArray([[1.0, 0.4], [0.4, 1.0]]))
    (True, False)
    """
    record = MEASURES.get(str(matrix.name))
    if record is not None:
        return record.is_distance
    values = np.asarray(matrix, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] != values.shape[1] or values.size == 0:
        return False
    itself, others = np.abs(np.diagonal(values)), values[np.isfinite(values)]
    return bool((itself[np.isfinite(itself)] < 1e-6).all() and others.max(initial=0.0) > 1e-6)


@checked
def similarity_of(result: xr.Dataset, measure: str = "cosine") -> xr.DataArray:
    """Return one measure of an analysis as a similarity.

    A distance ``d`` becomes ``1 - d / d_max``, with ``d_max`` the upper end of its declared ``range``; a similarity is
    returned unchanged.

    Raises
    ------
    UsageError
        The analysis does not contain this matrix.
    MeasureError
        The measure is a distance without an upper end.

    Examples
    --------
    >>> apart = xr.DataArray([[0.0, 0.5], [0.5, 0.0]], dims=("layer", "layer_other"), attrs={"range": "[0, 2]"})
    >>> similarity_of(xr.Dataset({"procrustes": apart}), "procrustes").values
    array([[1.  , 0.75], [0.75, 1.  ]])
    """
    matrix = measure_matrix(result, measure)
    return _from_distance(matrix, matrix) if is_distance(matrix) else matrix


@checked
def segment_measure(result: xr.Dataset, measure: str = "cosine", segments: int | str = 3) -> Segmentation:
    """Segment one measure of an analysis, with the stability of the boundaries if it has bootstrap replicates.

    ``layerscope segment`` calls this function. It applies `layerscope.segmentation.segmentation.segment` to
    `similarity_of` and `replicates_of`.

    Raises
    ------
    UsageError
        The analysis does not contain this matrix, or `segments` is not valid.
    MeasureError
        The matrix compares two captures, contains NaN, or has too few layers.

    Examples
    --------
    >>> blocks = xr.DataArray(np.kron(np.eye(3), np.ones((2, 2))), dims=("layer", "layer_other"))
    >>> segment_measure(xr.Dataset({"cosine": blocks})).sizes
    (2, 2, 2)
    """
    return segment(similarity_of(result, measure), segments, replicates=replicates_of(result, measure))


def replicates_of(result: xr.Dataset, measure: str) -> xr.DataArray | None:
    """Return the bootstrap replicates of one measure as similarities; None without a bootstrap.

    Examples
    --------
    >>> replicates_of(xr.Dataset({"cosine": (("layer", "layer_other"), np.eye(2))}), "cosine") is None
    True
    """
    replicates = result.get(f"{measure}_bootstrap")
    if replicates is not None and is_distance(result[measure]):
        replicates = _from_distance(replicates, result[measure])
    return replicates


def within_chance(result: xr.Dataset, measure: str) -> xr.DataArray | None:
    """Return the pairs of layers whose value is within the permutation null; None for an analysis without ``--null``.

    These are the pairs whose similarity is not above ``<measure>_null_high``, or whose distance is not below
    ``<measure>_null_low``.

    Examples
    --------
    >>> dims = ("layer", "layer_other")
    >>> result = xr.Dataset({"cka": (dims, [[1.0, 0.1]]), "cka_null_high": (dims, [[0.2, 0.2]])})
    >>> within_chance(result, "cka").values
    array([[False,  True]])
    """
    value = result[measure]
    if f"{measure}_null_high" not in result:
        return None
    if is_distance(value):
        return value >= result[f"{measure}_null_low"]
    return value <= result[f"{measure}_null_high"]


def _from_distance(values: xr.DataArray, measured: xr.DataArray) -> xr.DataArray:
    most = upper_end(measured)
    if most is None:
        raise MeasureError(
            f"{measured.name!r} is a distance without an upper end (range {measured.attrs.get('range', 'not given')}): "
            "it cannot become a similarity; use another measure"
        )
    return (1.0 - values / most).rename(measured.name).assign_attrs(measured.attrs)
