"""What each variant costs, against how many blocks it affects: all variants in one plot, and task by task.

A sweep in, a figure out.
"""

import numpy as np
import xarray as xr
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from layerscope.arguments import checked
from layerscope.errors import unknown_name
from layerscope.figures.canvas import Figure
from layerscope.figures.curves import asides, draw_curve, draw_levels, entries_of, look_of, remarks_of
from layerscope.figures.grids import Grid, make_grid, set_value_axis, set_whole_axis, share_values
from layerscope.figures.keys import draw_end_labels, end_labels_width, key_entry, level_entry
from layerscope.figures.marks import CHANCE, FULL, MARKER, draw_level, task_looks
from layerscope.figures.runs import RANGE_VARIANTS, Curve, curves
from layerscope.figures.scores import depth_of, scores
from layerscope.figures.style import inches, styled

__all__ = ["sweep", "tasks"]

_WIDE = 5.0  # inches: from here on names stand at the ends of lines
_HEIGHT = 0.62
_SMALL = 2.6  # points: markers in small panels


@checked
@styled
def sweep(
    dataset: xr.Dataset,
    quantity: str = "normalized",
    *,
    task: str | None = None,
    loops: int | None = None,
    width: str | float = "double",
) -> Figure:
    """Draw all range variants against the number of affected blocks, M (the paper's Fig. 11).

    Up goes the quantity of one task, or the median over tasks (of two tasks, and of ``score``, their mean). `random` is
    the mean over its seeds, its band goes from the least to the greatest of them. Intervals that the sweep holds are
    vertical bars, for which lines are set aside by a part of one M; they are of one task, so a median over several has
    none. The full model is a broken level, chance a dotted one. A marker is filled where accuracy is above chance (its
    interval too, where the sweep has one) in more than half of the tasks, and hollow elsewhere, whatever quantity is
    drawn: over hollow markers accuracy says nothing. The key says over which M all are filled, and up to which some.

    Parameters
    ----------
    dataset
        A sweep.
    quantity
        ``normalized`` (0 is chance, 1 the full model), ``loss``, ``loss_difference`` (paired with the full model),
        ``accuracy``, ``accuracy_norm`` or ``perplexity``; of a fine-tuning ``score``. For a small model, soon at chance,
        ``loss`` tells most.
    task
        One task; all by default.
    loops
        Which looped parallel of a sweep with several: 3, the paper's, by default.
    width
        ``double`` (6.9 inches, names at the ends of lines), ``single`` (3.33, names above) or inches.

    Raises
    ------
    UsageError
        It is no sweep; there is no such quantity, task or number of loops; `width` is impossible.
    MeasureError
        The sweep holds no range variant, or not this quantity.

    Examples
    --------
    >>> from layerscope.figures.example import example_sweep
    >>> figure = sweep(example_sweep(), "loss")
    >>> figure.axes[0].get_ylabel()
    'loss (nats per token)'
    """
    found = scores(dataset, quantity, task)
    drawn = curves(dataset, found, RANGE_VARIANTS, loops)
    across = inches(width)
    wide = across >= _WIDE
    entries = entries_of(drawn, found)
    groups: list[list[Line2D | Patch]] = [[] if wide else [*entries], remarks_of(drawn, found)]
    beside = end_labels_width(entries) if wide else 0.0
    grid = make_grid(across, [""], groups, height=_HEIGHT if wide else 0.8, beside=beside)
    axes = grid.places[0]
    lines = []
    for curve, aside in zip(drawn, asides(drawn, len(drawn)), strict=True):
        lines.append(np.stack([curve.affected + aside, curve.values], axis=1))
        draw_curve(axes, curve, lines[-1][:, 0])
    draw_levels(axes, found)
    set_value_axis(axes, found.quantity.logarithmic)
    _set_affected(grid, drawn)
    grid.name_axes(_names_of_affected(dataset), found.names, shared=True)
    if wide:
        right = axes.get_xlim()[1]
        lines += [np.array([[right, level]]) for level in found.levels]
        draw_end_labels(axes, entries, lines)
    return grid.figure


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
    >>> from layerscope.figures.example import example_sweep
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
    titles = [look_of(next(t[name] for t in by_task.values() if name in t)).name for name in shown]
    alone = variant is not None
    groups: list[list[Line2D | Patch]] = [[*map(key_entry, looks.values()), *levels], remarks_of(everything, first)]
    grid = make_grid(across, titles, groups, height=0.5 if alone and across >= _WIDE else 0.8)
    for axes, name in zip(grid.places, shown, strict=True):
        for task, aside in zip(names, asides(everything, len(names)), strict=True):
            if name in by_task[task]:
                curve = by_task[task][name]
                draw_curve(axes, curve, curve.affected + aside, looks[task], MARKER if alone else _SMALL)
                if not shared_levels:
                    draw_level(axes, float(found[task].values[0]), FULL, looks[task].colour)
        if shared_levels:
            draw_levels(axes, first)
        set_value_axis(axes, first.quantity.logarithmic)
    share_values(grid.places)
    _set_affected(grid, everything)
    grid.name_axes(_names_of_affected(dataset), first.names, shared=True)
    return grid.figure


def _set_affected(grid: Grid, drawn: list[Curve]) -> None:
    counts = [int(count) for curve in drawn for count in curve.affected]
    for axes in grid.places:
        set_whole_axis(axes, min(min(counts), 1), max(counts))


def _names_of_affected(dataset: xr.Dataset) -> list[str]:
    depth = depth_of(dataset)
    return [f"number of affected blocks, M (of {depth})", f"affected blocks, M (of {depth})", "affected, M", "M"]
