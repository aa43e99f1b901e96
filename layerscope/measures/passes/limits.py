"""Limits that every measure keeps: the value of two equal layers, and the range."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float

from layerscope.errors import MeasureError
from layerscope.measures.context import AnalysisContext, Axis
from layerscope.measures.estimate import Estimate
from layerscope.measures.record import Measure

__all__ = ["keep_limits"]

_ROUNDING = {torch.float32: 1e-5, torch.float64: 1e-9}
"""Largest excess over the range that counts as rounding, by the type in which states are multiplied."""


def keep_limits(
    measure: Measure, estimate: Estimate, context: AnalysisContext, equal: Bool[np.ndarray, "layer layer_other"]
) -> Estimate:
    """Set the value of equal layers to the measure's `self_value`, and clip values that exceed the range by rounding.

    Parameters
    ----------
    measure, estimate, context
        The measure, its estimate and the analysis.
    equal
        Whether two layers have the same states at every token.

    Raises
    ------
    MeasureError
        A value exceeds the range by more than rounding.
    """
    value = _within(measure, estimate.value, context, context.first)
    replicates, other = estimate.replicates, estimate.value_other
    if measure.self_value is not None:
        same = equal & np.isfinite(value)
        value[same] = measure.self_value
        if replicates is not None:
            replicates = np.where(same, measure.self_value, replicates)
    elif other is not None:
        other = _within(measure, other, context, context.other)
    return replace(estimate, value=value, value_other=other, replicates=replicates)


def _within(
    measure: Measure, value: Float[np.ndarray, "layer *layer_other"], context: AnalysisContext, axis: Axis
) -> Float[np.ndarray, "layer *layer_other"]:
    low, high = measure.low, measure.high
    beyond = np.fmax(low - value, value - high) > _ROUNDING[context.dtype]
    if beyond.any():
        place = tuple(np.argwhere(beyond)[0].tolist())
        layers = " and ".join(a.describe(i) for a, i in zip((axis, context.other), place, strict=False))
        raise MeasureError(
            f"{layers}: {measure.name} comes out as {value[place]:.9g}, outside of {measure.range} by more than rounding: the "
            f"states are beyond its precision; leave {measure.name} or the layer out"
        )
    kept: np.ndarray = value.clip(low, high)
    return kept
