"""Curves of a sweep drawn into axes: their looks, bands and bars, and what a key must say of them.

It knows curves and axes, not sweeps.
"""

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from layerscope.figures.data.sweep_curves import RANGE_VARIANTS, Curve
from layerscope.figures.data.sweep_scores import Scores
from layerscope.figures.parts.legend import band_entry, bar_entry, filled_entry, hollow_entry, legend_entry, level_entry
from layerscope.figures.parts.markers import CHANCE, FULL, LOOKS, MARKER, Look, draw_level, draw_points

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
    """Draw a curve at places across: seeds as a band, an interval as bars."""
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


def draw_levels(axes: Axes, found: Scores) -> None:
    """Draw the full model, and chance where it is one number, as levels."""
    for value, kind in zip(found.levels, (FULL, CHANCE), strict=False):
        draw_level(axes, value, kind)


def curve_entries(drawn: list[Curve], found: Scores, *, marked: bool = False) -> list[Line2D]:
    """Return what a key has of some curves and of the levels among them; `marked` as in `level_entry`."""
    levels = [level_entry(FULL, marked), *([] if found.chance is None else [level_entry(CHANCE)])]
    return [*(legend_entry(curve_look(curve)) for curve in drawn), *levels]


def curve_look(curve: Curve) -> Look:
    """Return how a curve looks; looped parallel says how often it loops."""
    look = LOOKS[curve.variant]
    return Look(f"{look.name} ×{curve.loops}", look.colour, look.marker) if curve.loops > 0 else look


def side_offsets(drawn: list[Curve], count: int) -> Float[np.ndarray, " line"]:
    """Return how far each of several lines is set aside across, so that bars at one M do not hide each other."""
    if all(curve.bars != "interval" for curve in drawn):
        return np.zeros(count)
    steps = [int(np.diff(curve.affected).min()) for curve in drawn if len(curve.affected) > 1]
    apart = min([_STEP, *steps])
    return (np.arange(count) - (count - 1) / 2) * _ASIDE * apart


def note_entries(drawn: list[Curve], found: Scores) -> list[Line2D | Patch]:
    """Return what a key must say of bands, bars and hollow markers, as far as there are any."""
    remarks: list[Line2D | Patch] = []
    seeds = max((curve.seeds for curve in drawn if curve.bars == "seeds"), default=0)
    if seeds:
        remarks.append(band_entry(f"least to greatest of {seeds} seeds"))
    if any(curve.bars == "interval" for curve in drawn):
        remarks.append(bar_entry("95 % interval"))
    if any(not curve.above.all() for curve in drawn):
        remarks.append(hollow_entry(len(found.tasks) > 1))
        by_count = [curve for curve in drawn if curve.variant in RANGE_VARIANTS]
        remarks += [filled_entry(_range_above(by_count))] if by_count else []
    return remarks


def _range_above(drawn: list[Curve]) -> str:
    """Say over which numbers of affected blocks all points are above chance, and up to which some are."""
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
