"""Draw the cost of fewer sequential steps: score or loss against stages and measured time."""

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from layerscope.arguments import checked
from layerscope.figures.data.sweep_columns import column, depth_of
from layerscope.figures.data.sweep_curves import SHORTER_VARIANTS, Curve, sweep_curves
from layerscope.figures.data.sweep_scores import Scores, sweep_scores
from layerscope.figures.parts.axes import set_ticks_across, set_value_axis, set_whole_axis, share_values
from layerscope.figures.parts.curves import curve_entries, draw_curve, draw_levels, note_entries
from layerscope.figures.parts.figure import Figure
from layerscope.figures.parts.grid import make_grid
from layerscope.figures.parts.legend_entries import size_entries
from layerscope.figures.parts.looks import variant_look
from layerscope.figures.parts.markers import draw_markers, size_by_affected
from layerscope.figures.parts.style import inches, styled

__all__ = ["latency"]

_MILLI = 1000.0
_WIDE = 5.0


@checked
@styled
def latency(
    dataset: xr.Dataset,
    quantity: str = "normalized",
    *,
    task: str | None = None,
    loops: int | None = None,
    width: str | float = "double",
) -> Figure:
    """Draw a quantity against the number of sequential stages and, if the sweep has it, measured time per token.

    A stage waits for the one before it, so points above each other take equally long. The figure has the variants with fewer
    stages than the full model: skip, parallel and looped parallel. The full model is a diamond. Markers grow with the number
    of affected blocks, M. Bars and hollow markers are those of `layerscope.figures.kinds.sweep.sweep`.

    Parameters
    ----------
    dataset
        A sweep; the second panel needs its ``seconds_per_token`` (NaN for runs that were not measured).
    quantity, task, loops
        As for `layerscope.figures.kinds.sweep.sweep`.
    width
        ``double``, ``single`` or inches.

    Raises
    ------
    UsageError, MeasureError
        As `layerscope.figures.kinds.sweep.sweep`; the sweep lacks these variants.

    Examples
    --------
    >>> from layerscope.figures.data.synthetic_sweep import example_sweep
    >>> figure = latency(example_sweep(), "loss")
    >>> figure.axes[0].get_xlabel()
    'sequential stages'
    """
    scores = sweep_scores(dataset, quantity, task)
    curves = sweep_curves(dataset, scores, SHORTER_VARIANTS, loops)
    times = _milliseconds(dataset)
    across = inches(width)
    most = max(int(curve.affected.max()) for curve in curves)
    sizes = size_entries(np.concatenate([curve.affected for curve in curves]))
    groups: list[list[Line2D | Patch]] = [
        [*curve_entries(curves, scores, marked=True)],
        [*sizes],
        note_entries(curves, scores),
    ]
    titles = [""] if times is None else ["counted", "measured"]
    height = 0.8 if across < _WIDE or times is not None else 0.5
    grid = make_grid(across, titles, groups, height=height)
    for curve in curves:
        _draw(grid.places[0], curve, curve.stages.astype(np.float64), most)
    _draw_full(grid.places[0], float(depth_of(dataset)), scores)
    stages = [int(count) for curve in curves for count in curve.stages]
    set_whole_axis(grid.places[0], min(stages), max(*stages, depth_of(dataset)))
    if times is not None:
        _draw_measured(grid.places[1], curves, scores, times, most)
    for axes in grid.places:
        draw_levels(axes, scores)
        set_value_axis(axes, scores.quantity.logarithmic)
    share_values(grid.places)
    grid.name_axes(["sequential stages", "stages"], scores.names, shared=True)
    if times is not None:
        grid.places[1].set_xlabel("milliseconds per token" if across >= _WIDE else "ms per token")
    return grid.figure


def _milliseconds(dataset: xr.Dataset) -> Float[np.ndarray, " run"] | None:
    """Return the measured milliseconds per token of each run, None if the sweep lacks them."""
    if "seconds_per_token" not in dataset:
        return None
    times = _MILLI * column(dataset, "seconds_per_token").astype(np.float64)
    return times if np.isfinite(times[1:]).any() else None


def _draw(axes: Axes, curve: Curve, along: Float[np.ndarray, " point"], most: int) -> None:
    draw_curve(axes, curve, along, size=size_by_affected(curve.affected.astype(np.float64), most))


def _draw_full(axes: Axes, along: float, scores: Scores) -> None:
    draw_markers(axes, np.array([along]), scores.values[:1], variant_look("identity"))


def _draw_measured(
    axes: Axes, curves: list[Curve], scores: Scores, times: Float[np.ndarray, " run"], most: int
) -> None:
    """Draw the points whose time was measured, on an axis that begins at 0."""
    for curve in curves:
        measured = curve.only(np.isfinite(curve.mean(times)))
        if measured is not None:
            _draw(axes, measured, measured.mean(times), most)
    if np.isfinite(times[0]):
        _draw_full(axes, float(times[0]), scores)
    axes.set_xlim(0.0, 1.06 * float(np.nanmax(times)))
    set_ticks_across(axes)
