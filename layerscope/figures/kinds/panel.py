"""The four cosines of an analysis side by side on one scale: what the few tokens of enormous norm do to the paper's.

An analysis in, a figure out.
"""

from typing import Any

import xarray as xr
from matplotlib.axes import Axes

from layerscope.arguments import checked
from layerscope.datasets import require_variables
from layerscope.errors import UsageError
from layerscope.figures.parts.figure import Figure, axes_size, longest_fitting, place_axes
from layerscope.figures.parts.matrix import compares_two, draw_cells, draw_colour_bar, layer_axis_names, scale_of
from layerscope.figures.parts.segments import check_segments, draw_boxes
from layerscope.figures.parts.style import GREY, SMALL, TEXT, inches, styled
from layerscope.segmentation.segmentation import Segmentation

__all__ = ["panel"]

_TITLES = {
    "cosine_sequence": ("whole sequence", "as in the paper"),
    "cosine": ("per token", "mean cosine"),
    "cosine_sequence_without_first": ("whole sequence", "first token left out"),
    "cosine_centered": ("per token", "centred"),
}
_ROOM_FOR = {5.0: 4, 3.0: 2}  # from so many inches on, so many matrices in a row; below, one
_LEFT, _ABOVE, _BELOW = 0.42, 0.32, 0.38  # inches round the matrices: ticks and names
_ACROSS, _DOWN = 0.12, 0.14  # inches between them
_BAR_GAP, _BAR, _BAR_NAMES = 0.10, 0.08, 0.42


@checked
@styled
def panel(result: xr.Dataset, segments: Segmentation | None = None, *, width: str | float = "double") -> Figure:
    """Draw the four cosines of an analysis side by side on one colour scale.

    In this order (at a single column's width two by two): cosine of whole sequences, the paper's; mean cosine per
    token; cosine of whole sequences without the first token of each; mean cosine per token after centring. What sets
    the first apart from the others is the work of the few tokens of enormous norm. Matrices the analysis does not hold
    are left out.

    Parameters
    ----------
    result
        An analysis with ``cosine_sequence``, ``cosine``, ``cosine_sequence_without_first``, ``cosine_centered``.
    segments
        Framed on the diagonal of each matrix, if given.
    width
        ``double`` (6.9 inches), ``single`` (3.33) or inches.

    Raises
    ------
    UsageError
        The analysis holds none of the four; the segments are of another number of layers; `width` is impossible.

    Examples
    --------
    >>> cosine = xr.DataArray([[1.0, 0.2], [0.2, 1.0]], dims=("layer", "layer_other"))
    >>> figure = panel(xr.Dataset({"cosine_sequence": cosine, "cosine": cosine}))
    >>> len(figure.axes)  # two matrices and their colour bar
    3
    """
    excluded = _excluded(result)
    matrices = {name: result[name] for name in _TITLES if name in result}
    if excluded:
        matrices.pop("cosine_sequence_without_first", None)
    dims = dict.fromkeys(matrices, ("layer", "layer_other"))
    require_variables(result, "analysis: make one with layerscope analyze, or ls.analyze", dims)
    if not matrices:
        raise UsageError(
            f"the analysis holds none of {', '.join(_TITLES)}: "
            "analyze again with --measures cosine_sequence,cosine,cosine_centered"
        )
    some = next(iter(matrices.values()))
    two = any(compares_two(matrix) for matrix in matrices.values())
    check_segments(some, segments, two)
    scale = scale_of(list(matrices.values()))
    across = inches(width)
    figure, places, bar, in_a_row = _arrange(across, len(matrices), some.shape)
    for index, (name, matrix) in enumerate(matrices.items()):
        draw_cells(places[index], matrix, scale)
        _title(places[index], "abcd"[index], *_wording(name, excluded))
        if segments is not None:
            draw_boxes(places[index], segments)
    _name_axes(places, in_a_row, some, two)
    draw_colour_bar(figure, bar, scale, "cosine" + (f", {_excluded_words(excluded)}" if excluded else ""), "vertical")
    return figure


def _arrange(across: float, count: int, shape: tuple[int, ...]) -> tuple[Figure, list[Axes], Axes, int]:
    """Make the figure, the axes of `count` matrices in rows, and those of the colour bar at their right."""
    in_a_row = min(count, next((most for least, most in _ROOM_FOR.items() if across >= least), 1))
    rows = -(-count // in_a_row)
    room = across - _LEFT - _BAR_GAP - _BAR - _BAR_NAMES - (in_a_row - 1) * _ACROSS
    side = room / in_a_row
    tall = side * shape[0] / shape[1]
    below = (rows - 1) * (_DOWN + _ABOVE + tall)
    figure = Figure(figsize=(across, _ABOVE + tall + below + _BELOW))
    places = []
    for index in range(count):
        row, column = divmod(index, in_a_row)
        left, top = _LEFT + column * (side + _ACROSS), _ABOVE + row * (tall + _DOWN + _ABOVE)
        places.append(place_axes(figure, left, top, side, tall))
    bar = place_axes(figure, across - _BAR_NAMES - _BAR, _ABOVE, _BAR, tall + below)
    return figure, places, bar, in_a_row


def _title(axes: Axes, letter: str, name: str, remark: str) -> None:
    """Put a bold letter, a name and, below it, a remark above the axes."""
    looks: list[tuple[str, float, float, dict[str, Any]]] = [
        (letter, 0.0, 11.0, {"fontsize": TEXT, "fontweight": "bold"}),
        (name, 8.0, 11.0, {"fontsize": TEXT}),
        (remark, 8.0, 3.0, {"fontsize": SMALL, "color": GREY}),
    ]
    for words, right, up, look in looks:
        axes.annotate(
            words,
            xy=(0.0, 1.0),
            xycoords="axes fraction",
            xytext=(right, up),
            textcoords="offset points",
            annotation_clip=False,
            **look,
        )


def _name_axes(places: list[Axes], in_a_row: int, matrix: xr.DataArray, two: bool) -> None:
    """Name rows at the left and columns at the bottom; matrices further in need no numbers of their own."""
    for index, axes in enumerate(places):
        width, height = axes_size(axes)
        if index % in_a_row == 0:
            axes.set_ylabel(longest_fitting(layer_axis_names(matrix, 0, two), height))
        else:
            axes.tick_params(labelleft=False)
        if index + in_a_row >= len(places):
            axes.set_xlabel(longest_fitting(layer_axis_names(matrix, 1, two)[1:], width))
        else:
            axes.tick_params(labelbottom=False)


def _excluded(result: xr.Dataset) -> int:
    """Return how many tokens at each sequence's start the whole analysis left out."""
    names = [name for name in _TITLES if name in result and name != "cosine_sequence_without_first"]
    return max((int(result[name].attrs.get("excluded_first", 0)) for name in names), default=0)


def _wording(name: str, excluded: int) -> tuple[str, str]:
    """Return the title of a matrix; one of whole sequences without their first tokens is not the paper's."""
    title, remark = _TITLES[name]
    if name == "cosine_sequence" and excluded:
        return title, _excluded_words(excluded)
    return title, remark


def _excluded_words(excluded: int) -> str:
    return f"first {'token' if excluded == 1 else f'{excluded} tokens'} left out"
