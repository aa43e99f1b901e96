"""Draw the tasks of a sweep against the number of affected blocks, a panel a variant."""

import xarray as xr
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from layerscope.arguments import checked
from layerscope.errors import unknown_name
from layerscope.figures.data.sweep_columns import depth_of
from layerscope.figures.data.sweep_curves import RANGE_VARIANTS, sweep_curves
from layerscope.figures.data.sweep_scores import sweep_scores
from layerscope.figures.parts.axes import affected_names, set_affected_axis, set_value_axis, share_values
from layerscope.figures.parts.curves import curve_look, draw_curve, draw_levels, note_entries, side_offsets
from layerscope.figures.parts.figure import Figure
from layerscope.figures.parts.grid import make_grid
from layerscope.figures.parts.legend_entries import legend_entry, level_entry
from layerscope.figures.parts.looks import task_looks
from layerscope.figures.parts.markers import CHANCE, FULL, MARKER, draw_level
from layerscope.figures.parts.style import inches, styled

__all__ = ["tasks"]

_WIDE = 5.0  # inches: a single panel is flatter
_SMALL = 2.6  # points: markers in small panels


@checked
@styled
def tasks(
    dataset: xr.Dataset,
    quantity: str = "normalized",
    *,
    variant: str | None = None,
    loops: int | None = None,
    width: str | float = "double",
) -> Figure:
    """Draw each task against the number of affected blocks, M (the paper's Fig. 4 to 9).

    There is a panel for each variant, on one scale, with a line for each task. Bands, bars and hollow markers are those of
    `layerscope.figures.kinds.sweep.sweep`, for each task separately.

    Parameters
    ----------
    dataset
        A sweep.
    quantity
        As for `layerscope.figures.kinds.sweep.sweep`. With ``normalized``, the default, all tasks share the levels of chance and
        the full model.
    variant
        One range variant, to draw only its panel.
    loops
        As for `layerscope.figures.kinds.sweep.sweep`.
    width
        ``double`` (three panels in a row), ``single`` (two) or inches.

    Raises
    ------
    UsageError, MeasureError
        As `layerscope.figures.kinds.sweep.sweep`; there is no such variant.

    Examples
    --------
    >>> from layerscope.figures.data.synthetic_sweep import example_sweep
    >>> figure = tasks(example_sweep(), "loss", width="single")
    >>> figure.axes[0].get_title(loc="left")
    'skip'
    """
    if variant is not None and variant not in RANGE_VARIANTS:
        raise unknown_name("range variant", variant, RANGE_VARIANTS)
    variants = RANGE_VARIANTS if variant is None else (variant,)
    names = list(sweep_scores(dataset, quantity).tasks)
    scores = {name: sweep_scores(dataset, quantity, name) for name in names}
    curves = {name: {c.variant: c for c in sweep_curves(dataset, scores[name], variants, loops)} for name in names}
    shown = [name for name in variants if any(name in of_task for of_task in curves.values())]
    everything = [curve for of_task in curves.values() for curve in of_task.values()]
    first, looks, alone, across = scores[names[0]], task_looks(names), variant is not None, inches(width)
    # One level for all tasks where the full models are equal, such as 0 for an increase.
    shared_levels = first.quantity.ends is not None or len({tuple(of_task.levels) for of_task in scores.values()}) == 1
    levels = [level_entry(FULL), *([level_entry(CHANCE)] if shared_levels and first.chance is not None else [])]
    groups: list[list[Line2D | Patch]] = [
        [*map(legend_entry, looks.values()), *levels],
        note_entries(everything, first),
    ]
    titles = [curve_look(next(of_task[name] for of_task in curves.values() if name in of_task)).name for name in shown]
    grid = make_grid(across, titles, groups, height=0.5 if alone and across >= _WIDE else 0.8)
    for axes, name in zip(grid.places, shown, strict=True):
        for task, offset in zip(names, side_offsets(everything, len(names)), strict=True):
            if name in curves[task]:
                curve = curves[task][name]
                draw_curve(axes, curve, curve.affected + offset, looks[task], MARKER if alone else _SMALL)
                if not shared_levels:
                    draw_level(axes, float(scores[task].values[0]), FULL, looks[task].colour)
        if shared_levels:
            draw_levels(axes, first)
        set_value_axis(axes, first.quantity.logarithmic)
    share_values(grid.places)
    set_affected_axis(grid.places, everything)
    grid.name_axes(affected_names(depth_of(dataset)), first.names, shared=True)
    return grid.figure
