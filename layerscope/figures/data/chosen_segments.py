"""Segments that ``layerscope plot`` draws for an analysis."""

from collections.abc import Mapping
from typing import Any

import xarray as xr

from layerscope.figures.data.layer_matrix import compares_two
from layerscope.segmentation.analysis_matrices import default_measure
from layerscope.segmentation.segmentation import Segmentation
from layerscope.segmentation.similarity import segment_measure

__all__ = ["chosen_segments"]


def chosen_segments(result: xr.Dataset, options: Mapping[str, Any]) -> Segmentation | None:
    """Return the segments of an analysis that options of the command line request, None for no segments.

    Without options these are three segments by the measure drawn, if the analysis is of one capture and has three layers or more.

    Parameters
    ----------
    result
        An analysis.
    options
        ``measure``, and ``segments`` as a number, ``auto`` or ``none``.

    Examples
    --------
    >>> import numpy as np
    >>> result = xr.Dataset({"cosine": (("layer", "layer_other"), np.kron(np.eye(3), np.ones((2, 2))))})
    >>> chosen_segments(result, {}).sizes, chosen_segments(result, {"segments": "none"})
    ((2, 2, 2), None)
    """
    count, measure = options.get("segments", 3), options.get("measure", default_measure(result))
    requested = "segments" in options or "measure" in options
    if count == "none" or (not requested and measure not in result):
        return None
    if measure in result and (compares_two(result[measure]) or (not requested and result.sizes["layer"] < 3)):
        return None
    return segment_measure(result, measure, count)
