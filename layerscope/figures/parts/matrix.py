"""Draw a matrix over pairs of layers into axes."""

import numpy as np
import xarray as xr
from jaxtyping import Bool
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection

from layerscope.figures.data.layer_matrix import axis_numbers
from layerscope.figures.parts.colour_scale import Scale
from layerscope.figures.parts.figure import axes_size
from layerscope.figures.parts.missing import mark_missing
from layerscope.figures.parts.style import colours

__all__ = ["are_bright", "draw_cells", "draw_dots", "tick_positions"]

_STEPS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 16, 20, 25, 30, 40, 50, 100, 200, 500)
_ROUND = (1, 2, 5, 10, 20, 50, 100)
_TICK_APART = 0.2  # inches
_DOT = 0.28  # of a cell
_LOWER = 0.06  # of a cell: a pixel or two
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


def draw_cells(axes: Axes, matrix: xr.DataArray, scale: Scale) -> None:
    """Draw a matrix as square cells with layer 0 at the top left and the state numbers as ticks.

    Cells are vectors, so no viewer smooths them. Each extends half a cell under its right and lower neighbours, which are drawn
    later: viewers show the paper between cells that only touch. On the right this extension starts slightly below the
    top of the cell, so that it does not show through the seam below the upper neighbour.
    """
    values = np.asarray(matrix, dtype=np.float64)
    rows, columns = matrix.shape
    width, height = axes_size(axes)
    top, left = (corner.ravel() - 0.5 for corner in np.mgrid[:rows, :columns])
    bottom, right = np.minimum(top + 1.5, rows - 0.5), np.minimum(left + 1.5, columns - 0.5)
    edge, lower = left + 1.0, np.where(top > 0, top + _LOWER, top)  # the first row has no seam above
    outline = [left, top, edge, top, edge, lower, right, lower, right, bottom, left, bottom]
    corners = np.stack(outline, axis=1).reshape(-1, 6, 2)
    cells = PolyCollection(
        list(corners), cmap=colours(scale.distance), norm=scale.norm(), edgecolors="none", antialiaseds=False
    )
    cells.set_array(np.ma.masked_invalid(values).ravel())
    axes.add_collection(cells, autolim=False)
    mark_missing(axes, values)
    axes.set_aspect("equal")
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    for axis, dimension, length in ((axes.xaxis, 1, width), (axes.yaxis, 0, height)):
        numbers = axis_numbers(matrix, dimension)
        places = tick_positions(numbers, most=max(2, int(length / _TICK_APART)))
        axis.set_ticks(places, labels=[str(numbers[place]) for place in places])


def draw_dots(axes: Axes, matrix: xr.DataArray, scale: Scale, dotted: Bool[np.ndarray, "layer layer_other"]) -> None:
    """Draw a dot on some cells: black on bright cells, white on dark ones."""
    rows, columns = np.nonzero(dotted)
    width, _ = axes_size(axes)
    across = _DOT * width / matrix.shape[1] * 72.0  # points
    inks = np.where(are_bright(matrix, scale)[rows, columns], "black", "white")
    axes.scatter(columns, rows, s=across**2, c=inks, linewidths=0.0)


def are_bright(matrix: xr.DataArray, scale: Scale) -> Bool[np.ndarray, "row column"]:
    """Return which cells are bright enough for black marks."""
    fills = colours(scale.distance)(scale.norm()(np.asarray(matrix, dtype=np.float64)))
    return np.asarray(fills[..., :3] @ _LUMINANCE > 0.5)


def tick_positions(numbers: np.ndarray, most: int) -> list[int]:
    """Choose at most `most` positions to label on an axis of layers with these numbers.

    Consecutive layers are labelled at multiples of a step, if possible one that reaches the last layer. Other layers are labelled
    at equal distances along the axis.

    Examples
    --------
    >>> tick_positions(np.arange(31), 8), tick_positions(np.arange(33), 9)
    ([0, 5, 10, 15, 20, 25, 30], [0, 4, 8, 12, 16, 20, 24, 28, 32])
    >>> tick_positions(np.array([0, 5, 6, 7, 30]), 9)
    [0, 1, 2, 3, 4]
    """
    count = len(numbers)
    if count <= most:
        return list(range(count))
    if (np.diff(numbers) != 1).any():
        return list(range(0, count, -(-count // most)))
    first, last = int(numbers[0]), int(numbers[-1])
    steps = [step for step in _STEPS if last // step - -(-first // step) + 1 <= most] or [count]
    # Prefer a step that reaches the last layer with enough ticks, and among these a round one.
    exact = [step for step in steps if last % step == 0 and step <= 2 * steps[0]]
    step = next((step for step in exact if step in _ROUND), (exact or steps)[0])
    return [number - first for number in range(-(-first // step) * step, last + 1, step)]
