"""What a single block is worth: each left out, and each exchanged with the next.

A sweep in, a figure out.
"""

import numpy as np
import xarray as xr
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from layerscope.arguments import checked
from layerscope.figures.data.sweep_curves import curves
from layerscope.figures.data.sweep_scores import depth_of, scores
from layerscope.figures.parts.axes import set_value_axis, set_whole_axis, share_values
from layerscope.figures.parts.curves import draw_curve, draw_levels, note_entries
from layerscope.figures.parts.figure import Figure
from layerscope.figures.parts.grid import make_grid
from layerscope.figures.parts.legend import legend_entry, level_entry
from layerscope.figures.parts.markers import CHANCE, FULL, LOOKS, MARKER, task_looks
from layerscope.figures.parts.style import inches, styled

__all__ = ["single"]

_VARIANTS = ("drop", "swap")
_SMALL = 2.6  # points: markers in small panels
_WIDE = 5.0  # inches
_LINEAR = 0.1  # nats: differences up to here stand on a linear axis, greater ones on a logarithmic one


@checked
@styled
def single(
    dataset: xr.Dataset, quantity: str = "loss", *, task: str | None = None, width: str | float = "double"
) -> Figure:
    """Draw what each block is worth: left out (drop), and exchanged with the next one (swap; the paper's Fig. 2).

    A panel a task. A dropped block stands at its number, an exchange between the numbers of its two blocks. The full
    model is a broken level, chance a dotted one; bars are intervals, hollow markers those where accuracy is not above
    chance, as in `layerscope.figures.kinds.sweep.sweep`. Panels share their scale where the quantity is a share of answers;
    losses stand each on its own. Where the first block outweighs all others, ``loss_difference`` shows these too: its
    axis is linear to 0.1 nats and logarithmic beyond.

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
        As `layerscope.figures.kinds.sweep.sweep`; the sweep holds no run of drop or swap.

    Examples
    --------
    >>> from layerscope.figures.data.example import example_sweep
    >>> figure = single(example_sweep())
    >>> figure.axes[0].get_xlabel()
    'block (swap: between the two)'
    """
    names = scores(dataset, quantity, task).tasks
    found = [scores(dataset, quantity, name) for name in names]
    drawn = [curves(dataset, of_task, _VARIANTS) for of_task in found]
    kind, everything = found[0].quantity, [curve for of_task in drawn for curve in of_task]
    shown = [name for name in _VARIANTS if any(curve.variant == name for curve in everything)]
    levels = [FULL, *([CHANCE] if any(of_task.chance is not None for of_task in found) else [])]
    entries = [*(legend_entry(LOOKS[name]) for name in shown), *map(level_entry, levels)]
    groups: list[list[Line2D | Patch]] = [[*entries], note_entries(everything, found[0])]
    alone, across = len(names) == 1, inches(width)
    titles = [""] if alone else [look.name for look in task_looks(names).values()]
    grid = make_grid(
        across, titles, groups, height=0.42 if alone and across >= _WIDE else 0.75, shared=kind.counts_answers
    )
    for axes, of_task, its_curves in zip(grid.places, found, drawn, strict=True):
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
