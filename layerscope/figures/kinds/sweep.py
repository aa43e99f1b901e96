"""What each variant costs, against how many blocks it affects: all variants in one plot, and task by task.

A sweep in, a figure out.
"""

import numpy as np
import xarray as xr
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from layerscope.arguments import checked
from layerscope.figures.data.sweep_curves import RANGE_VARIANTS, curves
from layerscope.figures.data.sweep_scores import depth_of, scores
from layerscope.figures.parts.axes import affected_names, set_affected_axis, set_value_axis
from layerscope.figures.parts.curves import (
    curve_entries,
    draw_curve,
    draw_levels,
    note_entries,
    side_offsets,
)
from layerscope.figures.parts.figure import Figure
from layerscope.figures.parts.grid import make_grid
from layerscope.figures.parts.legend import draw_end_labels, end_labels_width
from layerscope.figures.parts.style import inches, styled

__all__ = ["sweep"]

_WIDE = 5.0  # inches: from here on names stand at the ends of lines
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
    >>> from layerscope.figures.data.example import example_sweep
    >>> figure = sweep(example_sweep(), "loss")
    >>> figure.axes[0].get_ylabel()
    'loss (nats per token)'
    """
    found = scores(dataset, quantity, task)
    drawn = curves(dataset, found, RANGE_VARIANTS, loops)
    across = inches(width)
    wide = across >= _WIDE
    entries = curve_entries(drawn, found)
    groups: list[list[Line2D | Patch]] = [[] if wide else [*entries], note_entries(drawn, found)]
    beside = end_labels_width(entries) if wide else 0.0
    grid = make_grid(across, [""], groups, height=_HEIGHT if wide else 0.8, beside=beside)
    axes = grid.places[0]
    lines = []
    for curve, aside in zip(drawn, side_offsets(drawn, len(drawn)), strict=True):
        lines.append(np.stack([curve.affected + aside, curve.values], axis=1))
        draw_curve(axes, curve, lines[-1][:, 0])
    draw_levels(axes, found)
    set_value_axis(axes, found.quantity.logarithmic)
    set_affected_axis(grid.places, [int(count) for curve in drawn for count in curve.affected])
    grid.name_axes(affected_names(depth_of(dataset)), found.names, shared=True)
    if wide:
        right = axes.get_xlim()[1]
        lines += [np.array([[right, level]]) for level in found.levels]
        draw_end_labels(axes, entries, lines)
    return grid.figure
