"""Draw the cost of each variant against the number of blocks that it affects."""

import numpy as np
import xarray as xr
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from layerscope.arguments import checked
from layerscope.figures.data.sweep_columns import depth_of
from layerscope.figures.data.sweep_curves import RANGE_VARIANTS, sweep_curves
from layerscope.figures.data.sweep_scores import sweep_scores
from layerscope.figures.parts.axes import affected_names, set_affected_axis, set_value_axis
from layerscope.figures.parts.curves import curve_entries, draw_curve, draw_levels, note_entries, side_offsets
from layerscope.figures.parts.end_labels import draw_end_labels, end_labels_width
from layerscope.figures.parts.figure import Figure
from layerscope.figures.parts.grid import make_grid
from layerscope.figures.parts.style import inches, styled

__all__ = ["sweep"]

_WIDE = 5.0  # inches: names are at the ends of lines
_HEIGHT = 0.62


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

    The value is the quantity of one task, or its median over tasks (of two tasks, and for ``score``, the mean). `random` is
    the mean over its seeds, with a band from the smallest to the largest. Vertical bars are the intervals of a single task; lines
    are shifted sideways by a fraction of one M so that bars do not overlap. The level of the full model is dashed, that of
    chance dotted.

    For every quantity, markers are hollow where accuracy is not above chance in more than half of the tasks: there accuracy
    is uninformative. If the sweep has an interval of accuracy, it must be above chance too. The legend gives the M up to
    which all markers are filled, and up to which some are.

    Parameters
    ----------
    dataset
        A sweep.
    quantity
        ``normalized`` (0 is chance, 1 the full model), ``loss``, ``loss_difference`` (paired with the full model),
        ``accuracy``, ``accuracy_norm`` or ``perplexity``; of a fine-tuning ``score``. For a small model, which is soon at chance,
        ``loss`` is the most informative.
    task
        One task; all by default.
    loops
        Loop count of looped parallel, if the sweep has several; 3, as in the paper, by default.
    width
        ``double`` (6.9 inches, names at the ends of lines), ``single`` (3.33, names in a legend) or inches.

    Raises
    ------
    UsageError
        It is no sweep; there is no such quantity, task or loop count; `width` is invalid.
    MeasureError
        The sweep has no range variant, or lacks the quantity.

    Examples
    --------
    >>> from layerscope.figures.data.synthetic_sweep import example_sweep
    >>> figure = sweep(example_sweep(), "loss")
    >>> figure.axes[0].get_ylabel()
    'loss (nats per token)'
    """
    scores = sweep_scores(dataset, quantity, task)
    curves = sweep_curves(dataset, scores, RANGE_VARIANTS, loops)
    across = inches(width)
    wide = across >= _WIDE
    entries = curve_entries(curves, scores)
    groups: list[list[Line2D | Patch]] = [[] if wide else [*entries], note_entries(curves, scores)]
    right = end_labels_width(entries) if wide else 0.0
    grid = make_grid(across, [""], groups, height=_HEIGHT if wide else 0.8, right=right)
    axes = grid.places[0]
    lines = []
    for curve, offset in zip(curves, side_offsets(curves, len(curves)), strict=True):
        lines.append(np.stack([curve.affected + offset, curve.values], axis=1))
        draw_curve(axes, curve, lines[-1][:, 0])
    draw_levels(axes, scores)
    set_value_axis(axes, scores.quantity.logarithmic)
    set_affected_axis(grid.places, curves)
    grid.name_axes(affected_names(depth_of(dataset)), scores.names, shared=True)
    if wide:
        edge = axes.get_xlim()[1]
        lines += [np.array([[edge, level]]) for level in scores.levels]
        draw_end_labels(axes, entries, lines)
    return grid.figure
