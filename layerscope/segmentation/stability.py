"""Where the boundaries of segments fall in bootstrap replicates of a matrix.

Arrays in, places and shares out; this module knows neither files nor what the replicates were drawn from.
"""

import numpy as np
import xarray as xr
from jaxtyping import Int

from layerscope.errors import MeasureError
from layerscope.segmentation.partition import best_partition

__all__ = ["replicate_partitions", "stability"]


def stability(
    replicates: xr.DataArray | np.ndarray, segments: int, starts: tuple[int, ...], layers: int
) -> tuple[float, ...]:
    """Return, for each boundary in `starts`, the share of replicates that put that boundary in the same place.

    Parameters
    ----------
    replicates
        ``[replicate, layer, layer_other]``, each a similarity matrix over the same layers.
    segments
        Into how many segments every replicate is cut.
    starts
        The boundaries to look for, as places along the axis counted from 0.
    layers
        The number of layers, to check the replicates against.

    Raises
    ------
    MeasureError
        The replicates have another shape, there are none, or they hold NaN.

    Examples
    --------
    >>> sharp = np.kron(np.eye(2), np.ones((2, 2)))
    >>> late = np.kron(np.diag([1.0, 0.0]), np.ones((2, 2))) + np.diag([0, 0, 1.0, 1.0])
    >>> stability(np.stack([sharp, sharp, sharp, sharp]), segments=2, starts=(2,), layers=4)
    (1.0,)
    """
    found = replicate_partitions(replicates, segments, layers)
    return tuple(float(share) for share in (found == np.array(starts, dtype=np.int64)).mean(axis=0))


def replicate_partitions(
    replicates: xr.DataArray | np.ndarray, segments: int, layers: int
) -> Int[np.ndarray, "replicate boundary"]:
    """Return, for each bootstrap replicate of a matrix, the first layer of each segment after the first.

    Parameters
    ----------
    replicates, segments, layers
        As for `stability`.

    Raises
    ------
    MeasureError
        The replicates have another shape, there are none, or they hold NaN.

    Examples
    --------
    >>> sharp = np.kron(np.eye(2), np.ones((2, 2)))
    >>> replicate_partitions(np.stack([sharp, sharp]), segments=2, layers=4)
    array([[2], [2]])
    """
    values = np.asarray(replicates, dtype=np.float64)
    if values.ndim != 3 or values.shape[1:] != (layers, layers) or len(values) == 0:
        raise MeasureError(
            f"bootstrap replicates have shape {values.shape}, expected (replicates, {layers}, {layers}): "
            "give those of the same matrix"
        )
    if not np.isfinite(values).all():
        raise MeasureError("a bootstrap replicate holds NaN or Inf: analyze again with more sequences")
    found = [best_partition((one + one.T) / 2, segments) for one in values]
    return np.array(found, dtype=np.int64).reshape(len(values), segments - 1)
