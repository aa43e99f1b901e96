"""Draw the four cosines of an analysis on one scale, which shows the effect of a few tokens of very large norm."""

from typing import Any

import xarray as xr
from matplotlib.axes import Axes

from layerscope.arguments import checked
from layerscope.datasets import require_variables
from layerscope.errors import UsageError
from layerscope.figures.data.chosen_segments import chosen_segments
from layerscope.figures.data.layer_matrix import compares_two, layer_axis_names
from layerscope.figures.parts.colour_scale import draw_colour_bar, scale_of
from layerscope.figures.parts.figure import Figure, axes_size, longest_fitting, place_axes
from layerscope.figures.parts.grid import Spacing, arrange
from layerscope.figures.parts.matrix import draw_cells
from layerscope.figures.parts.segments import check_segments, draw_boxes
from layerscope.figures.parts.style import GREY, SMALL, TEXT, inches, styled
from layerscope.segmentation.segmentation import Segmentation

__all__ = ["panel", "panel_of_analysis"]

_TITLES = {
    "cosine_sequence": ("whole sequence", "as in the paper"),
    "cosine": ("per token", "mean cosine"),
    "cosine_sequence_without_first": ("whole sequence", "first token left out"),
    "cosine_centered": ("per token", "centred"),
}
_IN_A_ROW = {5.0: 4, 3.0: 2}  # least width in inches: matrices in a row; otherwise one
_TITLE, _BELOW = 0.32, 0.38  # inches
_BAR_GAP, _BAR, _BAR_NAMES = 0.10, 0.08, 0.42
_SPACING = Spacing(left=0.42, right=_BAR_GAP + _BAR + _BAR_NAMES, between=0.12, down=0.14 + _TITLE)


@checked
@styled
def panel(result: xr.Dataset, segments: Segmentation | None = None, *, width: str | float = "double") -> Figure:
    """Draw the four cosines of an analysis side by side on one colour scale.

    The order is: cosine of whole sequences, as in the paper; mean cosine per token; cosine of whole sequences without their first
    tokens; mean cosine per token after centring. The first differs from the others because of a few tokens of very large
    norm. In a single column there are two matrices in a row. Matrices that the analysis lacks are omitted.

    Parameters
    ----------
    result
        An analysis with ``cosine_sequence``, ``cosine``, ``cosine_sequence_without_first``, ``cosine_centered``.
    segments
        Segments to frame on the diagonal of each matrix.
    width
        ``double`` (6.9 inches), ``single`` (3.33) or inches.

    Raises
    ------
    UsageError
        The analysis lacks all four; the segments have another number of layers; `width` is invalid.

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
    first = next(iter(matrices.values()))
    two = any(compares_two(matrix) for matrix in matrices.values())
    check_segments(first, segments, two)
    scale = scale_of(list(matrices.values()))
    across = inches(width)
    figure, places, bar, in_a_row = _place(across, len(matrices), first.shape)
    for index, (name, matrix) in enumerate(matrices.items()):
        draw_cells(places[index], matrix, scale)
        _title(places[index], "abcd"[index], *_wording(name, excluded))
        if segments is not None:
            draw_boxes(places[index], segments)
    _name_axes(places, in_a_row, first, two)
    draw_colour_bar(figure, bar, scale, "cosine" + (f", {_excluded_words(excluded)}" if excluded else ""), "vertical")
    return figure


def panel_of_analysis(result: xr.Dataset, *, width: str, **options: Any) -> Figure:
    """Draw the four cosines, with segments only on request."""
    return panel(result, chosen_segments(result, options) if "segments" in options else None, width=width)


def _place(across: float, count: int, shape: tuple[int, ...]) -> tuple[Figure, list[Axes], Axes, int]:
    """Make the figure, the axes of the matrices and of their colour bar, and return the number in a row."""
    in_a_row = min(count, next((most for least, most in _IN_A_ROW.items() if across >= least), 1))
    rows = arrange(across, [""] * count, _SPACING, in_a_row=in_a_row, ratio=shape[0] / shape[1], top=_TITLE)
    figure = Figure(figsize=(across, rows.bottom + _BELOW))
    places = rows.place(figure)
    bar = place_axes(figure, across - _BAR_NAMES - _BAR, rows.top, _BAR, rows.bottom - rows.top)
    return figure, places, bar, in_a_row


def _title(axes: Axes, letter: str, name: str, remark: str) -> None:
    """Write a bold letter, a name and, below it, a remark above the axes."""
    parts: list[tuple[str, float, float, dict[str, Any]]] = [
        (letter, 0.0, 11.0, {"fontsize": TEXT, "fontweight": "bold"}),
        (name, 8.0, 11.0, {"fontsize": TEXT}),
        (remark, 8.0, 3.0, {"fontsize": SMALL, "color": GREY}),
    ]
    for text, right, up, look in parts:
        axes.annotate(
            text,
            xy=(0.0, 1.0),
            xycoords="axes fraction",
            xytext=(right, up),
            textcoords="offset points",
            annotation_clip=False,
            **look,
        )


def _name_axes(places: list[Axes], in_a_row: int, matrix: xr.DataArray, two: bool) -> None:
    """Name rows at the left and columns at the bottom, and remove the numbers of inner axes."""
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
    """Return the number of tokens that the whole analysis excludes at the start of each sequence."""
    names = [name for name in _TITLES if name in result and name != "cosine_sequence_without_first"]
    return max((int(result[name].attrs.get("excluded_first", 0)) for name in names), default=0)


def _wording(name: str, excluded: int) -> tuple[str, str]:
    """Return the title and the remark of a matrix; without first tokens it is not the paper's."""
    title, remark = _TITLES[name]
    if name == "cosine_sequence" and excluded:
        return title, _excluded_words(excluded)
    return title, remark


def _excluded_words(excluded: int) -> str:
    return f"first {'token' if excluded == 1 else f'{excluded} tokens'} left out"
