"""Draw the tasks of a sweep against the number of affected blocks, a panel a variant."""

import xarray as xr
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from layerscope.arguments import checked
from layerscope.errors import unknown_name
from layerscope.figures.data.sweep_curves import RANGE_VARIANTS, curves
from layerscope.figures.data.sweep_scores import depth_of, scores
from layerscope.figures.parts.axes import affected_names, set_affected_axis, set_value_axis, share_values
from layerscope.figures.parts.curves import curve_look, draw_curve, draw_levels, note_entries, side_offsets
from layerscope.figures.parts.figure import Figure
from layerscope.figures.parts.grid import make_grid
from layerscope.figures.parts.legend import legend_entry, level_entry
from layerscope.figures.parts.markers import CHANCE, FULL, MARKER, draw_level, task_looks
from layerscope.figures.parts.style import inches, styled

__all__ = ["tasks"]

_WIDE = 5.0  # inches: a single panel is flatter from here on
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
    """Draw the tasks one by one against the number of affected blocks, M (the paper's Fig. 4 to 9).

    A panel a variant, all on one scale, a line a task; or with `variant` that panel alone. Bands, bars and hollow
    markers as in `sweep`, of each task alone.

    Parameters
    ----------
    dataset
        A sweep.
    quantity
        As for `sweep`; with ``normalized`` (the default) chance and full model are the same levels for all tasks.
    variant
        One range variant, for a figure of its own.
    loops
        As for `sweep`.
    width
        ``double`` (three panels in a row), ``single`` (two) or inches.

    Raises
    ------
    UsageError, MeasureError
        As `sweep`; there is no such variant.

    Examples
    --------
    >>> from layerscope.figures.data.example import example_sweep
    >>> figure = tasks(example_sweep(), "loss", width="single")
    >>> figure.axes[0].get_title(loc="left")
    'skip'
    """
    if variant is not None and variant not in RANGE_VARIANTS:
        raise unknown_name("range variant", variant, RANGE_VARIANTS)
    wanted = RANGE_VARIANTS if variant is None else (variant,)
    names = list(scores(dataset, quantity).tasks)
    found = {name: scores(dataset, quantity, name) for name in names}
    by_task = {name: {c.variant: c for c in curves(dataset, found[name], wanted, loops)} for name in names}
    shown = [name for name in wanted if any(name in of_task for of_task in by_task.values())]
    looks = task_looks(names)
    across = inches(width)
    everything = [curve for of_task in by_task.values() for curve in of_task.values()]
    first = found[names[0]]
    # Where the full models stand alike (at 0 of an increase), one level says it for all tasks.
    shared_levels = first.quantity.ends is not None or len({tuple(of_task.levels) for of_task in found.values()}) == 1
    common_chance = shared_levels and first.chance is not None
    levels = [level_entry(FULL), *([level_entry(CHANCE)] if common_chance else [])]
    titles = [curve_look(next(t[name] for t in by_task.values() if name in t)).name for name in shown]
    alone = variant is not None
    groups: list[list[Line2D | Patch]] = [
        [*map(legend_entry, looks.values()), *levels],
        note_entries(everything, first),
    ]
    grid = make_grid(across, titles, groups, height=0.5 if alone and across >= _WIDE else 0.8)
    for axes, name in zip(grid.places, shown, strict=True):
        for task, aside in zip(names, side_offsets(everything, len(names)), strict=True):
            if name in by_task[task]:
                curve = by_task[task][name]
                draw_curve(axes, curve, curve.affected + aside, looks[task], MARKER if alone else _SMALL)
                if not shared_levels:
                    draw_level(axes, float(found[task].values[0]), FULL, looks[task].colour)
        if shared_levels:
            draw_levels(axes, first)
        set_value_axis(axes, first.quantity.logarithmic)
    share_values(grid.places)
    set_affected_axis(grid.places, [int(count) for curve in everything for count in curve.affected])
    grid.name_axes(affected_names(depth_of(dataset)), first.names, shared=True)
    return grid.figure
