"""Segment bootstrap replicates of a matrix, and measure how stable the boundaries are."""

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
        Number of segments of every replicate.
    starts
        Boundaries to compare with, as indices along the axis.
    layers
        Number of layers of each replicate.

    Raises
    ------
    MeasureError
        The replicates have another shape, are empty, or contain NaN.

    Examples
    --------
    >>> sharp = np.kron(np.eye(2), np.ones((2, 2)))
    >>> late = np.kron(np.diag([1.0, 0.0]), np.ones((2, 2))) + np.diag([0, 0, 1.0, 1.0])
    >>> stability(np.stack([sharp, sharp, sharp, sharp]), segments=2, starts=(2,), layers=4)
    (1.0,)
    """
    partitions = replicate_partitions(replicates, segments, layers)
    return tuple(float(share) for share in (partitions == np.array(starts, dtype=np.int64)).mean(axis=0))


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
        The replicates have another shape, are empty, or contain NaN.

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
            "use the replicates of the same matrix"
        )
    if not np.isfinite(values).all():
        raise MeasureError("a bootstrap replicate holds NaN or Inf: analyze again with more sequences")
    partitions = [best_partition((one + one.T) / 2, segments) for one in values]
    return np.array(partitions, dtype=np.int64).reshape(len(values), segments - 1)
