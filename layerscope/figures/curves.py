"""Curves of a sweep drawn into axes: their looks, bands and bars, and what a key must say of them.

It knows curves and axes, not sweeps.
"""

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from layerscope.figures.keys import band_entry, bar_entry, hollow_entry
from layerscope.figures.marks import CHANCE, FULL, LOOKS, MARKER, Look, draw_level, draw_points
from layerscope.figures.runs import Curve
from layerscope.figures.scores import Scores

__all__ = ["asides", "draw_curve", "draw_levels", "look_of", "names_of_value", "remarks_of"]

_ASIDE = 0.07  # of the distance between two points
_STEP = 2  # from one M to the next, all starts run


def draw_curve(
    axes: Axes, curve: Curve, along: Float[np.ndarray, " point"], look: Look | None = None, size: float = MARKER
) -> None:
    """Draw a curve at places across: seeds as a band, an interval as bars."""
    bars = curve.bars != "none"
    draw_points(
        axes,
        along,
        curve.values,
        look or look_of(curve),
        curve.above,
        low=curve.low if bars else None,
        high=curve.high if bars else None,
        band=curve.bars == "seeds",
        size=size,
    )


def draw_levels(axes: Axes, found: Scores) -> None:
    """Draw the full model, and chance where it is one number, as levels."""
    draw_level(axes, float(found.values[0]), FULL)
    if found.chance is not None:
        draw_level(axes, found.chance, CHANCE)


def look_of(curve: Curve) -> Look:
    """Return how a curve looks; looped parallel says how often it loops."""
    look = LOOKS[curve.variant]
    return Look(f"{look.name} ×{curve.loops}", look.colour, look.marker) if curve.loops > 0 else look


def asides(drawn: list[Curve], count: int) -> Float[np.ndarray, " line"]:
    """Return how far each of several lines is set aside across, so that bars at one M do not hide each other."""
    if all(curve.bars != "interval" for curve in drawn):
        return np.zeros(count)
    steps = [int(np.diff(curve.affected).min()) for curve in drawn if len(curve.affected) > 1]
    apart = min([_STEP, *steps])
    return (np.arange(count) - (count - 1) / 2) * _ASIDE * apart


def remarks_of(drawn: list[Curve], found: Scores) -> list[Line2D | Patch]:
    """Return what a key must say of bands, bars and hollow markers, as far as there are any."""
    remarks: list[Line2D | Patch] = []
    seeds = max((curve.seeds for curve in drawn if curve.bars == "seeds"), default=0)
    if seeds:
        remarks.append(band_entry(f"least to greatest of {seeds} seeds"))
    if any(curve.bars == "interval" for curve in drawn):
        remarks.append(bar_entry("95 % interval"))
    if any(not curve.above.all() for curve in drawn):
        remarks.append(hollow_entry(len(found.tasks) > 1))
    return remarks


def names_of_value(found: Scores) -> list[str]:
    """Name the axis of a quantity, longest first."""
    return [found.words, found.quantity.words, found.quantity.short]
