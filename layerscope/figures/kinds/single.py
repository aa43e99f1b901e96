"""Draw the effect of each single block: without it, and with it and the next one swapped."""

import numpy as np
import xarray as xr
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from layerscope.arguments import checked
from layerscope.figures.data.sweep_columns import depth_of
from layerscope.figures.data.sweep_curves import BLOCK_VARIANTS, sweep_curves
from layerscope.figures.data.sweep_scores import sweep_scores
from layerscope.figures.parts.axes import set_value_axis, set_whole_axis, share_values
from layerscope.figures.parts.curves import draw_curve, draw_levels, note_entries
from layerscope.figures.parts.figure import Figure
from layerscope.figures.parts.grid import make_grid
from layerscope.figures.parts.legend_entries import legend_entry, level_entry
from layerscope.figures.parts.looks import task_looks, variant_look
from layerscope.figures.parts.markers import CHANCE, FULL, MARKER
from layerscope.figures.parts.style import inches, styled

__all__ = ["single"]

_SMALL = 2.6  # points: markers in small panels
_WIDE = 5.0  # inches
_LINEAR = 0.1  # nats: the axis of differences is linear up to here and logarithmic beyond


@checked
@styled
def single(
    dataset: xr.Dataset, quantity: str = "loss", *, task: str | None = None, width: str | float = "double"
) -> Figure:
    """Draw the effect of each block: dropped, and swapped with the next one (the paper's Fig. 2).

    There is a panel for each task. A dropped block is at its number, a swap between the numbers of its two blocks. Levels,
    bars and hollow markers are those of `layerscope.figures.kinds.sweep.sweep`. Panels of accuracies and scores share one scale;
    each panel of losses has its own. The axis of ``loss_difference`` is linear to 0.1 nats and logarithmic beyond, so
    that all blocks are visible even if the first has by far the largest effect.

    Parameters
    ----------
    dataset
        A sweep with runs of drop, of swap or of both.
    quantity
        As for `layerscope.figures.kinds.sweep.sweep`.
    task
        One task; all by default.
    width
        ``double`` (up to three panels in a row), ``single`` (two) or inches.

    Raises
    ------
    UsageError, MeasureError
        As `layerscope.figures.kinds.sweep.sweep`; the sweep has no run of a single block.

    Examples
    --------
    >>> from layerscope.figures.data.synthetic_sweep import example_sweep
    >>> figure = single(example_sweep())
    >>> figure.axes[0].get_xlabel()
    'block (swap: between the two)'
    """
    names = sweep_scores(dataset, quantity, task).tasks
    scores = [sweep_scores(dataset, quantity, name) for name in names]
    curves = [sweep_curves(dataset, of_task, BLOCK_VARIANTS) for of_task in scores]
    kind, everything = scores[0].quantity, [curve for of_task in curves for curve in of_task]
    shown = [name for name in BLOCK_VARIANTS if any(curve.variant == name for curve in everything)]
    levels = [FULL, *([CHANCE] if any(of_task.chance is not None for of_task in scores) else [])]
    entries = [*(legend_entry(variant_look(name)) for name in shown), *map(level_entry, levels)]
    groups: list[list[Line2D | Patch]] = [[*entries], note_entries(everything, scores[0])]
    alone, across = len(names) == 1, inches(width)
    titles = [""] if alone else [look.name for look in task_looks(names).values()]
    height = 0.42 if alone and across >= _WIDE else 0.75
    grid = make_grid(across, titles, groups, height=height, shared=kind.counts_answers)
    for axes, of_task, its_curves in zip(grid.places, scores, curves, strict=True):
        for curve in its_curves:
            along = curve.start + (0.5 if curve.variant == "swap" else 0.0)
            draw_curve(axes, curve, along.astype(np.float64), size=MARKER if alone else _SMALL)
        draw_levels(axes, of_task)
        set_value_axis(axes, kind.logarithmic, _LINEAR if quantity == "loss_difference" else 0.0)
        set_whole_axis(axes, 0, depth_of(dataset) - 1)
    if kind.counts_answers:
        share_values(grid.places)
    grid.name_axes(["block (swap: between the two)", "block"], kind.names, kind.counts_answers)
    return grid.figure
