"""One matrix over pairs of layers, drawn into axes: cells, ticks, names and its colour bar.

It knows arrays and axes, not figures' layout.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr
from jaxtyping import Bool
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from layerscope.errors import UsageError
from layerscope.figures.parts.figure import axes_size
from layerscope.figures.parts.style import LINE, TEXT, colours
from layerscope.measures.catalogue import MEASURES
from layerscope.segmentation.similarity import is_distance, value_range

__all__ = [
    "Scale",
    "compares_two",
    "draw_cells",
    "draw_colour_bar",
    "draw_dots",
    "layer_axis_names",
    "measure_name",
    "scale_of",
    "tick_positions",
]

_STEPS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 16, 20, 25, 30, 40, 50, 100, 200, 500)
_ROUND = (1, 2, 5, 10, 20, 50, 100)
_CLEARLY_NEGATIVE = -0.05
_GRAIN = 0.25
_TICK_APART = 0.2  # inches
_DOT = 0.28  # of a cell
_LOWER = 0.06  # of a cell: a pixel or two
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
_ARROW = 0.07  # inches: the end of a colour bar beyond which values lie


@dataclass(frozen=True)
class Scale:
    """The colours of one or more matrices: the values at both ends, and whether some lie beyond them."""

    low: float
    high: float
    distance: bool
    beyond: str
    """Which ends of the colour bar get an arrow: ``neither``, ``min``, ``max`` or ``both``."""

    def norm(self) -> Normalize:
        """Return matplotlib's form of it."""
        return Normalize(self.low, self.high)


def scale_of(matrices: Sequence[xr.DataArray], low: float | None = None, high: float | None = None) -> Scale:
    """Choose one colour scale for some matrices.

    The ends are those of the measures' declared ``range``, so that figures of one measure can be laid side by side.
    Two exceptions keep the colours telling: a range that goes below 0 starts at 0 if the values (almost) do, and
    otherwise at the least value, rounded down to a quarter; an end without bound is the outermost value. Values
    without a range that lie within -1 … 1 are taken as cosines are.

    Raises
    ------
    UsageError
        `low` is not below `high`.

    Examples
    --------
    >>> cosine = xr.DataArray([[1.0, 0.3], [0.3, 1.0]], attrs={"range": "[-1, 1]"})
    >>> scale_of([cosine])
    Scale(low=0.0, high=1.0, distance=False, beyond='neither')
    >>> scale_of([cosine - 0.6]).low
    -0.5
    """
    values = np.concatenate([np.asarray(matrix, dtype=np.float64).ravel() for matrix in matrices])
    values = values[np.isfinite(values)]
    least, most = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    declared = [ends for matrix in matrices if (ends := value_range(matrix.attrs)) is not None]
    bottom = min((ends[0] for ends in declared), default=-np.inf)
    top = max((ends[1] for ends in declared), default=np.inf)
    if not declared and least >= -1 and most <= 1:
        bottom, top = -1.0, 1.0
    if bottom < 0:
        bottom = 0.0 if least >= _CLEARLY_NEGATIVE and top <= 1 else max(bottom, np.floor(least / _GRAIN) * _GRAIN)
    bottom = float(bottom) if low is None else low
    top = (float(top) if np.isfinite(top) else most) if high is None else high
    if low is None and high is None and bottom >= top:
        top = bottom + 1.0
    if not bottom < top:
        raise UsageError(f"the colour scale goes from {bottom:g} to {top:g}: its low end must be below its high end")
    # Rounding alone (a cosine of 1 + 1e-16) is not beyond the scale.
    slack = 1e-6 * (top - bottom)
    under, over = least < bottom - slack, most > top + slack
    beyond = "both" if under and over else "min" if under else "max" if over else "neither"
    return Scale(bottom, top, any(is_distance(matrix) for matrix in matrices), beyond)


def draw_cells(axes: Axes, matrix: xr.DataArray, scale: Scale) -> None:
    """Draw the matrix with layer 0 at the top left, square cells, and the state numbers as ticks.

    The cells are vectors, not an image, so that no viewer smooths them. Each reaches half a cell under those drawn
    after it, right and below: where cells only touch, viewers show the paper between them. To the right it does so a
    little lower than its own top, else it would show in the seam below the cell above.
    """
    rows, columns = matrix.shape
    width, height = axes_size(axes)
    top, left = (corner.ravel() - 0.5 for corner in np.mgrid[:rows, :columns])
    bottom, right = np.minimum(top + 1.5, rows - 0.5), np.minimum(left + 1.5, columns - 0.5)
    edge, lower = left + 1.0, np.where(top > 0, top + _LOWER, top)  # above the first row there is no seam
    outline = [left, top, edge, top, edge, lower, right, lower, right, bottom, left, bottom]
    corners = np.stack(outline, axis=1).reshape(-1, 6, 2)
    cells = PolyCollection(
        list(corners), cmap=colours(scale.distance), norm=scale.norm(), edgecolors="none", antialiaseds=False
    )
    cells.set_array(np.ma.masked_invalid(np.asarray(matrix, dtype=np.float64)).ravel())
    axes.add_collection(cells, autolim=False)
    axes.set_aspect("equal")
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    for axis, dimension, length in ((axes.xaxis, 1, width), (axes.yaxis, 0, height)):
        numbers = _numbers(matrix, dimension)
        places = tick_positions(numbers, most=max(2, int(length / _TICK_APART)))
        axis.set_ticks(places, labels=[str(numbers[place]) for place in places])


def draw_dots(axes: Axes, matrix: xr.DataArray, scale: Scale, dotted: Bool[np.ndarray, "layer layer_other"]) -> None:
    """Put a dot on some cells, dark on bright ones and bright on dark ones."""
    rows, columns = np.nonzero(dotted)
    width, _ = axes_size(axes)
    across = _DOT * width / matrix.shape[1] * 72.0  # points
    inks = np.where(are_bright(matrix, scale)[rows, columns], "black", "white")
    axes.scatter(columns, rows, s=across**2, c=inks, linewidths=0.0)


def are_bright(matrix: xr.DataArray, scale: Scale) -> Bool[np.ndarray, "row column"]:
    """Tell which cells are so bright that marks on them are seen in black, not in white."""
    fills = colours(scale.distance)(scale.norm()(np.asarray(matrix, dtype=np.float64)))
    return np.asarray(fills[..., :3] @ _LUMINANCE > 0.5)


def draw_colour_bar(
    figure: Figure, axes: Axes, scale: Scale, name: str, orientation: Literal["horizontal", "vertical"] = "horizontal"
) -> None:
    """Draw the colour bar of a scale into axes of its own and name it."""
    mappable = ScalarMappable(scale.norm(), colours(scale.distance))
    width, height = axes_size(axes)
    length, apart = (width, 0.3) if orientation == "horizontal" else (height, 0.2)
    bar = figure.colorbar(mappable, cax=axes, orientation=orientation, extend=scale.beyond, extendfrac=_ARROW / length)
    bar.locator = MaxNLocator(nbins=max(2, min(8, int(length / apart))), steps=[1, 2, 5, 10])
    bar.set_label(name, size=TEXT)
    bar.outline.set_linewidth(LINE)
    if bar.solids is not None:
        # matplotlib would make an image of so many colours, and leaves seams between them.
        bar.solids.set(rasterized=False, edgecolor="face")


def tick_positions(numbers: np.ndarray, most: int) -> list[int]:
    """Choose at most `most` places to label among layers with these numbers.

    Where the layers follow on each other, at multiples of a step, preferring one that ends on the last layer;
    otherwise evenly along the axis.

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
    # A step that ends on the last layer if it leaves ticks enough, a round one before others.
    exact = [step for step in steps if last % step == 0 and step <= 2 * steps[0]]
    step = next((step for step in exact if step in _ROUND), (exact or steps)[0])
    return [number - first for number in range(-(-first // step) * step, last + 1, step)]


def compares_two(matrix: xr.DataArray) -> bool:
    """Tell whether rows and columns are layers of different captures.

    A layer with itself has the value that the measure's record says; of matrices of no known measure only symmetric ones are
    taken for those of a single capture.
    """
    values = np.asarray(matrix, dtype=np.float64)
    if values.shape[0] != values.shape[1] or not np.array_equal(_numbers(matrix, 0), _numbers(matrix, 1)):
        return True
    known = MEASURES.get(str(matrix.name))
    if known is not None and known.self_value is not None and not known.symmetric:
        return not np.allclose(values.diagonal(), known.self_value, rtol=0.0, atol=1e-6, equal_nan=True)
    return not np.allclose(values, values.T, rtol=0.0, atol=1e-6, equal_nan=True)


def layer_axis_names(matrix: xr.DataArray, dimension: int, two: bool) -> list[str]:
    """Name the rows (0) or columns (1), longest first; it says that state 0 is the embedding where there is one."""
    whose = (" of the first capture", " of the second capture")[dimension] if two else ""
    hint = " (0 = embedding)" if 0 in _numbers(matrix, dimension) else ""
    return [f"layer{whose}{hint}", f"layer{whose}", "layer"]


def measure_name(matrix: xr.DataArray) -> str:
    """Return what the measure calls itself, to stand at the colour bar."""
    return str(matrix.attrs.get("long_name") or matrix.name or "similarity")


def _numbers(matrix: xr.DataArray, dimension: int) -> np.ndarray:
    name = matrix.dims[dimension]
    return np.asarray(matrix.coords[name].values) if name in matrix.coords else np.arange(matrix.shape[dimension])
