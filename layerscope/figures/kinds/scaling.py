"""Draw models of several sizes: their heatmaps with segments, and the sizes of the segments."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from layerscope.arguments import checked
from layerscope.figures.data.scaling_models import (
    matrix_of,
    model_titles,
    scaling_of_measure,
    segment_starts,
    similarity_name,
)
from layerscope.figures.parts.colour_scale import draw_colour_bar, scale_of
from layerscope.figures.parts.figure import Figure, place_axes, wrapped
from layerscope.figures.parts.grid import Spacing, arrange, even_rows
from layerscope.figures.parts.legend import draw_legend, legend_height
from layerscope.figures.parts.matrix import draw_cells
from layerscope.figures.parts.scaling_curves import draw_counts, draw_shares, scaling_entries
from layerscope.figures.parts.segments import draw_boxes
from layerscope.figures.parts.style import SMALL, TEXT, inches, styled
from layerscope.segmentation.segmentation import describe_partition

__all__ = ["scaling"]

_IN_A_ROW = {5.0: 5, 3.0: 3}  # least width in inches: matrices in a row; otherwise two
_FEWEST = 3  # matrices that a row has room for
_WIDE = 5.0  # inches: the two plots are side by side
_LEFT, _RIGHT = 0.42, 0.10
_SPACING = Spacing(_LEFT, _RIGHT, between=0.24, down=0.26, title=0.05, line=0.10)
_TOP = 0.02
_BAR_BELOW, _BAR, _BAR_NAMES = 0.10, 0.08, 0.40
_LOWER, _LOWER_APART, _AXIS = 0.62, 0.52, 0.36  # height over width of a plot; between two; ticks and name below
_APART = 0.06


@checked
@styled
def scaling(
    dataset: xr.Dataset, measure: str | None = None, *, exclude_first: int | None = None, width: str | float = "double"
) -> Figure:
    """Draw one similarity of several models: their heatmaps (the paper's Fig. 14), and the sizes of their segments.

    Above are the matrices on one colour scale with framed segments, the smallest model first. Below are the number of layers of
    each segment against the states, on logarithmic axes, and their proportion against the parameters. Bars are 95 %
    intervals over texts. Lines are the form that the data support, named in the legend. Where this form depends on more
    than the axis shows, there are dashes at the models, or lines between them.

    Parameters
    ----------
    dataset
        Result of `layerscope.scaling`, or its file.
    measure
        One of its measures; by default ``cosine``, otherwise the first.
    exclude_first
        Number of tokens excluded at the start of each sequence; the smallest by default.
    width
        ``double`` (6.9 inches), ``single`` (3.33) or inches.

    Raises
    ------
    UsageError
        It is no scaling; it lacks the measure; `width` is invalid.
    MeasureError
        The measure was not computed with this number of excluded tokens.

    Examples
    --------
    >>> import layerscope as ls
    >>> def analysis(sizes):
    ...     owner = np.repeat([0, 1, 2], sizes)
    ...     matrix = np.where(owner[:, None] == owner, 1.0, 0.1)
    ...     dims, depth = ("layer", "layer_other"), len(owner) - 1
    ...     return xr.Dataset(
    ...         {"cosine": (dims, matrix), "cosine_bootstrap": (("replicate", *dims), np.stack([matrix] * 4))},
    ...         {"layer": np.arange(depth + 1)},
    ...         {"model": f"of {depth}", "num_blocks": depth, "parameters": 1000 * depth},
    ...     )
    >>> figure = scaling(ls.scaling([analysis([2, 6, 1]), analysis([2, 10, 1])]))
    >>> len(figure.axes)  # two matrices, their colour bar, two plots
    5
    """
    reading = scaling_of_measure(dataset, measure, exclude_first)
    matrices = [matrix_of(reading, place) for place in range(reading.sizes["model"])]
    across, entries = inches(width), scaling_entries(reading)
    room = across - _LEFT - _RIGHT
    figure, places, bar, plots, legend_top = _place(across, model_titles(reading), legend_height([entries], room))
    scale = scale_of(matrices)
    for place, (axes, matrix) in enumerate(zip(places, matrices, strict=True)):
        draw_cells(axes, matrix, scale)
        draw_boxes(axes, describe_partition(matrix, np.asarray(matrix), segment_starts(reading, place)))
    places[0].set_ylabel("layer")
    draw_colour_bar(figure, bar, scale, "\n".join(wrapped(similarity_name(reading), TEXT, room)))
    draw_legend(figure, [entries], _LEFT, room, top=legend_top)
    for axes, draw in zip(plots, (draw_counts, draw_shares), strict=True):
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes, reading)
    return figure


def _place(across: float, titles: list[str], legend: float) -> tuple[Figure, list[Axes], Axes, list[Axes], float]:
    """Make the figure and the axes of matrices, colour bar and plots, and return the top of the legend."""
    most = next((count for least, count in _IN_A_ROW.items() if across >= least), 2)
    in_a_row = even_rows(len(titles), most)
    columns = max(in_a_row, min(most, _FEWEST))
    rows = arrange(across, titles, _SPACING, in_a_row=in_a_row, columns=columns, ratio=1.0, top=_TOP, wrap=_break_name)
    bar_top = rows.bottom + _SPACING.down + _BAR_BELOW - _APART
    legend_top = bar_top + _BAR + _BAR_NAMES
    top = legend_top + legend + _APART
    room, side_by_side = across - _LEFT - _RIGHT, across >= _WIDE
    wide = (room - _LOWER_APART) / 2 if side_by_side else room
    tall = wide * _LOWER
    second = (_LEFT + wide + _LOWER_APART, top) if side_by_side else (_LEFT, top + tall + _AXIS + _APART)
    height = top + tall + _AXIS + (0.0 if side_by_side else tall + _AXIS + _APART)
    figure = Figure(figsize=(across, height))
    places = rows.place(figure, pad=2.5, fontsize=SMALL, linespacing=1.15)
    bar = place_axes(figure, _LEFT, bar_top, min(room, 3.0), _BAR)
    plots = [place_axes(figure, left, down, wide, tall) for left, down in ((_LEFT, top), second)]
    return figure, places, bar, plots, legend_top


def _break_name(name: str, room: float) -> list[str]:
    """Break the name of a model at hyphens and underscores if it is too long for one line."""
    parts = name.replace("-", "- ").replace("_", "_ ")
    return [line.replace("- ", "-").replace("_ ", "_") for line in wrapped(parts, SMALL, room)]
