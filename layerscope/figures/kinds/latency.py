"""What fewer sequential steps cost: score or loss against stages, and against measured time.

A sweep in, a figure out.
"""

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from layerscope.arguments import checked
from layerscope.figures.data.sweep_curves import Curve, curves
from layerscope.figures.data.sweep_scores import Scores, column, depth_of, scores
from layerscope.figures.parts.axes import set_ticks_across, set_value_axis, set_whole_axis, share_values
from layerscope.figures.parts.curves import curve_entries, draw_curve, draw_levels, note_entries
from layerscope.figures.parts.figure import Figure
from layerscope.figures.parts.grid import make_grid
from layerscope.figures.parts.legend import size_entries
from layerscope.figures.parts.markers import LOOKS, draw_markers, size_by_affected
from layerscope.figures.parts.style import inches, styled

__all__ = ["latency"]

_SHORTER = ("skip", "parallel", "looped_parallel")
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
    """Draw a quantity against the number of sequential stages, and against measured time a token where the sweep has it.

    A stage is what must wait for what was before. Drawn are the variants that need fewer: skip, parallel and looped
    parallel; the others have as many stages as the full model, which is a diamond. Markers grow with the number of
    affected blocks, M; bars and hollow markers as in `layerscope.figures.kinds.sweep.sweep`. Points above each other take
    equally long.

    Parameters
    ----------
    dataset
        A sweep; the second panel needs its ``seconds_per_token`` of each run (NaN where not measured).
    quantity, task, loops
        As for `layerscope.figures.kinds.sweep.sweep`.
    width
        ``double``, ``single`` or inches.

    Raises
    ------
    UsageError, MeasureError
        As `layerscope.figures.kinds.sweep.sweep`; the sweep holds none of these variants.

    Examples
    --------
    >>> from layerscope.figures.data.example import example_sweep
    >>> figure = latency(example_sweep(), "loss")
    >>> figure.axes[0].get_xlabel()
    'sequential stages'
    """
    found = scores(dataset, quantity, task)
    drawn = curves(dataset, found, _SHORTER, loops)
    times = _milliseconds(dataset)
    across = inches(width)
    most = max(int(curve.affected.max()) for curve in drawn)
    sizes = size_entries(np.concatenate([curve.affected for curve in drawn]))
    groups: list[list[Line2D | Patch]] = [
        [*curve_entries(drawn, found, marked=True)],
        [*sizes],
        note_entries(drawn, found),
    ]
    titles = [""] if times is None else ["counted", "measured"]
    height = 0.8 if across < _WIDE or times is not None else 0.5
    grid = make_grid(across, titles, groups, height=height)
    for curve in drawn:
        _draw(grid.places[0], curve, curve.stages.astype(np.float64), most)
    _draw_full(grid.places[0], float(depth_of(dataset)), found)
    stages = [int(count) for curve in drawn for count in curve.stages]
    set_whole_axis(grid.places[0], min(stages), max(*stages, depth_of(dataset)))
    if times is not None:
        _draw_measured(grid.places[1], drawn, found, times, most)
    for axes in grid.places:
        draw_levels(axes, found)
        set_value_axis(axes, found.quantity.logarithmic)
    share_values(grid.places)
    grid.name_axes(["sequential stages", "stages"], found.names, shared=True)
    if times is not None:
        grid.places[1].set_xlabel("milliseconds per token" if across >= _WIDE else "ms per token")
    return grid.figure


def _milliseconds(dataset: xr.Dataset) -> Float[np.ndarray, " run"] | None:
    """Return the measured time a token of each run, None if the sweep has none."""
    if "seconds_per_token" not in dataset:
        return None
    times = _MILLI * column(dataset, "seconds_per_token").astype(np.float64)
    return times if np.isfinite(times[1:]).any() else None


def _draw(axes: Axes, curve: Curve, along: Float[np.ndarray, " point"], most: int) -> None:
    draw_curve(axes, curve, along, size=size_by_affected(curve.affected.astype(np.float64), most))


def _draw_full(axes: Axes, along: float, found: Scores) -> None:
    draw_markers(axes, np.array([along]), found.values[:1], LOOKS["identity"])


def _draw_measured(axes: Axes, drawn: list[Curve], found: Scores, times: Float[np.ndarray, " run"], most: int) -> None:
    """Draw those points whose time was measured, on an axis from 0: half the time is half the way."""
    for curve in drawn:
        measured = curve.only(np.isfinite(curve.mean(times)))
        if measured is not None:
            _draw(axes, measured, measured.mean(times), most)
    if np.isfinite(times[0]):
        _draw_full(axes, float(times[0]), found)
    axes.set_xlim(0.0, 1.06 * float(np.nanmax(times)))
    set_ticks_across(axes)
