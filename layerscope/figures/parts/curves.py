"""Draw curves of a sweep into axes, and return their legend entries."""

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from layerscope.evaluation.sweep_plan import RANGE_VARIANTS
from layerscope.figures.data.sweep_curves import Curve
from layerscope.figures.data.sweep_scores import Scores
from layerscope.figures.parts.legend_entries import (
    band_entry,
    bar_entry,
    filled_entry,
    hollow_entry,
    legend_entry,
    level_entry,
)
from layerscope.figures.parts.looks import Look, variant_look
from layerscope.figures.parts.markers import CHANCE, FULL, MARKER, draw_level, draw_points

__all__ = ["curve_entries", "curve_look", "draw_curve", "draw_levels", "note_entries", "side_offsets"]

_ASIDE = 0.07  # of the distance between two points
_STEP = 2  # from one M to the next, all starts run


def draw_curve(
    axes: Axes,
    curve: Curve,
    along: Float[np.ndarray, " point"],
    look: Look | None = None,
    size: float | Float[np.ndarray, " point"] = MARKER,
) -> None:
    """Draw a curve: the range over seeds as a band, an interval as bars."""
    bars = curve.bars != "none"
    draw_points(
        axes,
        along,
        curve.values,
        look or curve_look(curve),
        curve.above,
        low=curve.low if bars else None,
        high=curve.high if bars else None,
        band=curve.bars == "seeds",
        size=size,
    )


def draw_levels(axes: Axes, scores: Scores) -> None:
    """Draw the levels of the full model and, where it is one number, of chance."""
    for value, kind in zip(scores.levels, (FULL, CHANCE), strict=False):
        draw_level(axes, value, kind)


def curve_entries(drawn: list[Curve], scores: Scores, *, marked: bool = False) -> list[Line2D]:
    """Return the legend entries of curves and levels; `marked` as in `level_entry`."""
    levels = [level_entry(FULL, marked), *([] if scores.chance is None else [level_entry(CHANCE)])]
    return [*(legend_entry(curve_look(curve)) for curve in drawn), *levels]


def curve_look(curve: Curve) -> Look:
    """Return the look of a curve; the name of looped parallel includes its loop count."""
    look = variant_look(curve.variant)
    return Look(f"{look.name} ×{curve.loops}", look.colour, look.marker) if curve.loops > 0 else look


def side_offsets(drawn: list[Curve], count: int) -> Float[np.ndarray, " line"]:
    """Return horizontal offsets of `count` lines at which bars of the same M do not hide each other."""
    if all(curve.bars != "interval" for curve in drawn):
        return np.zeros(count)
    steps = [int(np.diff(curve.affected).min()) for curve in drawn if len(curve.affected) > 1]
    apart = min([_STEP, *steps])
    return (np.arange(count) - (count - 1) / 2) * _ASIDE * apart


def note_entries(drawn: list[Curve], scores: Scores) -> list[Line2D | Patch]:
    """Return the legend entries of bands, bars and hollow markers that are in the figure."""
    notes: list[Line2D | Patch] = []
    seeds = max((curve.seeds for curve in drawn if curve.bars == "seeds"), default=0)
    if seeds:
        notes.append(band_entry(f"least to greatest of {seeds} seeds"))
    if any(curve.bars == "interval" for curve in drawn):
        notes.append(bar_entry("95 % interval"))
    if any(not curve.above.all() for curve in drawn):
        notes.append(hollow_entry(len(scores.tasks) > 1))
        by_count = [curve for curve in drawn if curve.variant in RANGE_VARIANTS]
        notes += [filled_entry(_range_above(by_count))] if by_count else []
    return notes


def _range_above(drawn: list[Curve]) -> str:
    """Return the numbers of affected blocks up to which all points, and some points, are above chance."""
    affected = np.concatenate([curve.affected for curve in drawn])
    above = np.concatenate([curve.above for curve in drawn])
    if not above.any():
        return "above chance: none"
    all_to = affected[affected < affected[~above].min()]
    some_to = affected[above].max()
    return (
        f"above chance: all to M = {all_to.max()}, some to {some_to}"
        if len(all_to)
        else f"above chance: some to M = {some_to}"
    )
