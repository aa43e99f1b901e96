"""Draw a heatmap of layers against layers, with its segments."""

from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool
from matplotlib.axes import Axes
from matplotlib.figure import Figure as MatplotlibFigure

from layerscope.arguments import checked
from layerscope.errors import UsageError
from layerscope.figures.data.chosen_segments import chosen_segments
from layerscope.figures.data.layer_matrix import compares_two, layer_axis_names, measure_name
from layerscope.figures.parts.colour_scale import Scale, draw_colour_bar, scale_of
from layerscope.figures.parts.figure import Figure, axes_size, figure_of, longest_fitting, place_axes, wrapped
from layerscope.figures.parts.matrix import draw_cells, draw_dots
from layerscope.figures.parts.segments import check_segments, draw_boxes, draw_brackets, names_width
from layerscope.figures.parts.style import TEXT, inches, styled
from layerscope.segmentation.analysis_matrices import default_measure, measure_matrix
from layerscope.segmentation.segmentation import Matrix, Segmentation, layer_numbers
from layerscope.segmentation.similarity import within_chance

__all__ = ["heatmap", "heatmap_of_analysis"]

_LEFT, _RIGHT = 0.42, 0.10  # inches
_TALLEST = 1.5  # height over width of the tallest matrix between two captures
_TITLE, _TOP = 0.22, 0.08  # inches above the matrix, with and without a title
_BELOW = 0.36
_BAR, _BAR_BELOW, _SHORTEST_BAR = 0.08, 0.34, 1.6
_LINE = 0.12
_DOTTED = "dotted: no more alike than by chance"


@checked
@styled
def heatmap(
    similarity: Matrix,
    segments: Segmentation | None = None,
    *,
    by_chance: Matrix | None = None,
    width: str | float = "single",
    title: str | None = None,
    low: float | None = None,
    high: float | None = None,
    axes: Axes | None = None,
) -> MatplotlibFigure:
    """Draw one matrix over pairs of layers, with its segments.

    A matrix without any value is drawn with the text "no values".

    Parameters
    ----------
    similarity
        ``[layer, layer_other]``, of one capture or between two; from an analysis ``result["cosine"]``.
    segments
        Segments from `layerscope.segmentation.segmentation.segment`: framed on the diagonal, named at the right.
    by_chance
        Cells to dot, as booleans: those no more alike than by chance, from `layerscope.segmentation.similarity.within_chance`.
    width
        ``single`` (3.33 inches, one column), ``double`` (6.9) or inches.
    title
        Title above the matrix; none by default, because papers have captions.
    low, high
        Ends of the colour scale; `layerscope.figures.parts.colour_scale.scale_of` describes the default.
    axes
        Axes of another figure to draw into, without a colour bar. Names of segments need an inch at their right.

    Returns
    -------
    layerscope.figures.parts.figure.Figure
        The new figure, or the figure of `axes`.

    Raises
    ------
    UsageError
        `similarity` is no matrix, or `by_chance` has another shape; the segments have another number of layers, or the matrix
        compares two captures; `width`, the colour scale or the mathtext of `title` is invalid.

    Examples
    --------
    >>> figure = heatmap(np.eye(4), title="nothing alike")
    >>> float(figure.get_figwidth())
    3.33
    """
    matrix = _labelled(similarity)
    two = compares_two(matrix)
    check_segments(matrix, segments, two)
    dotted = _dotted(by_chance, matrix)
    scale = scale_of([matrix], low, high)
    if axes is not None:
        _fill(axes, matrix, scale, segments, dotted, two)
        return figure_of(axes)
    across = inches(width)
    brackets = 0.0 if segments is None else names_width(segments, layer_numbers(matrix))
    side = across - _LEFT - brackets - _RIGHT
    rows, columns = matrix.shape
    cell = min(side / columns, _TALLEST * side / rows)
    side, tall = cell * columns, cell * rows
    top = _TOP if title is None else _TITLE
    bar_width = max(side, _SHORTEST_BAR)
    name = wrapped(measure_name(matrix), TEXT, bar_width)
    name += wrapped(_DOTTED, TEXT, bar_width) if dotted.any() else []
    below = _BAR_BELOW + (len(name) - 1) * _LINE
    figure = Figure(figsize=(across, top + tall + _BELOW + _BAR + below))
    axes = place_axes(figure, _LEFT, top, side, tall)
    _fill(axes, matrix, scale, segments, dotted, two)
    if title is not None:
        axes.set_title(title, pad=4.0)
    bar = place_axes(figure, _LEFT, top + tall + _BELOW, bar_width, _BAR)
    draw_colour_bar(figure, bar, scale, "\n".join(name))
    return figure


def heatmap_of_analysis(result: xr.Dataset, *, width: str, **options: Any) -> MatplotlibFigure:
    """Draw one measure of an analysis; cells that are no more alike than by chance are dotted."""
    measure = options.get("measure", default_measure(result))
    matrix = measure_matrix(result, measure)
    segments, by_chance = chosen_segments(result, options), within_chance(result, measure)
    return heatmap(matrix, segments=segments, by_chance=by_chance, width=width)


def _fill(
    axes: Axes, matrix: xr.DataArray, scale: Scale, segments: Segmentation | None, dotted: np.ndarray, two: bool
) -> None:
    """Draw cells, dots, axis names and segments."""
    draw_cells(axes, matrix, scale)
    axes.apply_aspect()
    draw_dots(axes, matrix, scale, dotted)
    width, height = axes_size(axes)
    axes.set_xlabel(longest_fitting(layer_axis_names(matrix, 1, two), width))
    axes.set_ylabel(longest_fitting(layer_axis_names(matrix, 0, two), height))
    if segments is not None:
        draw_boxes(axes, segments)
        draw_brackets(axes, segments, layer_numbers(matrix), height)


def _dotted(by_chance: xr.DataArray | np.ndarray | None, matrix: xr.DataArray) -> Bool[np.ndarray, "layer layer_other"]:
    dotted = np.zeros(matrix.shape, bool) if by_chance is None else np.asarray(by_chance, dtype=bool)
    if dotted.shape != matrix.shape:
        raise UsageError(f"by_chance is of shape {dotted.shape}, expected that of the matrix, {matrix.shape}")
    return dotted


def _labelled(similarity: xr.DataArray | np.ndarray) -> xr.DataArray:
    matrix = similarity if isinstance(similarity, xr.DataArray) else xr.DataArray(similarity)
    if matrix.ndim != 2 or matrix.size == 0:
        raise UsageError(f"a heatmap needs a matrix over pairs of layers, got an array of shape {matrix.shape}")
    return matrix
