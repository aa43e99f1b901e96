"""What fewer sequential steps cost: score or loss against stages, and against measured time.

A sweep in, a figure out.
"""

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from layerscope.figures.canvas import Figure, size_of
from layerscope.figures.curves import draw_curve, draw_levels, look_of, names_of_value, remarks_of
from layerscope.figures.grids import make_grid, set_value_axis, set_whole_axis, share_values, written
from layerscope.figures.keys import key_entry, level_entry
from layerscope.figures.marks import CHANCE, FULL, LOOKS, MARKER
from layerscope.figures.runs import Curve, curves
from layerscope.figures.scores import Scores, column, depth_of, scores
from layerscope.figures.style import applied, inches

__all__ = ["latency"]

_SHORTER = ("skip", "parallel", "looped_parallel")
_MILLI = 1000.0
_TICK_APART = 0.34
_WIDE = 5.0


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
    parallel; the others have as many stages as the full model, which is a diamond. Bars and hollow markers as in
    `layerscope.figures.sweeps.sweep`. Points above each other take equally long.

    Parameters
    ----------
    dataset
        A sweep; the second panel needs its ``seconds_per_token`` of each run (NaN where not measured).
    quantity
        ``normalized``, ``loss``, ``loss_difference``, ``accuracy``, ``accuracy_norm`` or ``perplexity``.
    task
        One task; the median over all by default.
    loops
        Which looped parallel of a sweep with several: 3, the paper's, by default.
    width
        ``double`` (6.9 inches), ``single`` (3.33) or inches.

    Raises
    ------
    UsageError
        It is no sweep; there is no such quantity, task or number of loops; `width` is impossible.
    MeasureError
        The sweep holds none of these variants, or not this quantity.

    Examples
    --------
    >>> runs = {"variant": ["identity", "skip", "skip"], "start": [-1, 1, 0], "loops": [-1, -1, -1]}
    >>> runs |= {"seed": [-1, -1, -1], "affected": [0, 1, 3], "stages": [4, 3, 1]}
    >>> columns = {name: ("run", values) for name, values in runs.items()}
    >>> dataset = xr.Dataset({"loss": (("task", "run"), [[2.0, 2.4, 5.0]])}, {"task": ["builtin:cloze"], **columns})
    >>> figure = latency(dataset, "loss")
    >>> figure.axes[0].get_xlabel()
    'sequential stages'
    """
    found = scores(dataset, quantity, task)
    drawn = curves(dataset, found, _SHORTER, loops)
    times = _milliseconds(dataset)
    with applied():
        across = inches(width)
        entries: list[Line2D | Patch] = [key_entry(look_of(curve)) for curve in drawn]
        entries.append(level_entry(FULL, marked=True))
        entries += [level_entry(CHANCE)] if found.chance is not None else []
        titles = [""] if times is None else ["counted", "measured"]
        height = 0.8 if across < _WIDE or times is not None else 0.5
        grid = make_grid(across, titles, [entries, remarks_of(drawn, found)], height=height)
        for curve in drawn:
            draw_curve(grid.places[0], curve, curve.stages.astype(np.float64))
        _draw_full(grid.places[0], float(depth_of(dataset)), found)
        stages = [int(count) for curve in drawn for count in curve.stages]
        set_whole_axis(grid.places[0], min(stages), max(*stages, depth_of(dataset)))
        if times is not None:
            _draw_measured(grid.places[1], drawn, found, times)
        for axes in grid.places:
            draw_levels(axes, found)
            set_value_axis(axes, quantity == "perplexity")
        share_values(grid.places)
        grid.name_axes(["sequential stages", "stages"], names_of_value(found), shared=True)
        if times is not None:
            grid.places[1].set_xlabel("milliseconds a token" if across >= _WIDE else "ms a token")
    return grid.figure


def _milliseconds(dataset: xr.Dataset) -> Float[np.ndarray, " run"] | None:
    """Return the measured time a token of each run, None if the sweep has none."""
    if "seconds_per_token" not in dataset:
        return None
    times = _MILLI * column(dataset, "seconds_per_token").astype(np.float64)
    return times if np.isfinite(times[1:]).any() else None


def _draw_full(axes: Axes, along: float, found: Scores) -> None:
    look = LOOKS["identity"]
    axes.plot(
        [along],
        [float(found.values[0])],
        linestyle="",
        marker=look.marker,
        markersize=MARKER,
        color=look.colour,
        label=f"_{look.name}",
        zorder=2.2,
    )


def _draw_measured(axes: Axes, drawn: list[Curve], found: Scores, times: Float[np.ndarray, " run"]) -> None:
    """Draw those points whose time was measured, on an axis from 0: half the time is half the way."""
    for curve in drawn:
        measured = curve.only(np.isfinite(curve.mean(times)))
        if measured is not None:
            draw_curve(axes, measured, measured.mean(times))
    if np.isfinite(times[0]):
        _draw_full(axes, float(times[0]), found)
    axes.set_xlim(0.0, 1.06 * float(np.nanmax(times)))
    nbins = max(2, int(size_of(axes)[0] / _TICK_APART))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=nbins, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value)))
