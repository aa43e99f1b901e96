"""Draw several matrices side by side on one colour scale."""

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Any

import xarray as xr
from matplotlib.axes import Axes

from layerscope.figures.data.layer_matrix import layer_axis_names
from layerscope.figures.parts.colour_scale import draw_colour_bar, scale_of
from layerscope.figures.parts.figure import Figure, axes_size, longest_fitting, place_axes
from layerscope.figures.parts.grid import Spacing, arrange
from layerscope.figures.parts.matrix import draw_cells
from layerscope.figures.parts.segments import draw_boxes
from layerscope.figures.parts.style import GREY, SMALL, TEXT
from layerscope.segmentation.segmentation import Segmentation

__all__ = ["MatrixPanel", "draw_matrices"]

_IN_A_ROW = {5.0: 4, 3.0: 2}  # least width in inches: matrices in a row; otherwise one
_TITLE, _LEFT, _BELOW = 0.32, 0.42, 0.38  # inches
_BAR_GAP, _BAR, _BAR_NAMES = 0.10, 0.08, 0.42
_RIGHT = _BAR_GAP + _BAR + _BAR_NAMES
_SHARED = Spacing(_LEFT, _RIGHT, between=0.12, down=0.14 + _TITLE)
_SEPARATE = Spacing(_LEFT, _RIGHT, between=_LEFT, down=_BELOW + _TITLE)


@dataclass(frozen=True)
class MatrixPanel:
    """A matrix over pairs of layers or blocks, with its title and a remark below it."""

    matrix: xr.DataArray
    title: str
    remark: str


def draw_matrices(
    panels: Sequence[MatrixPanel],
    across: float,
    names: Sequence[str],
    *,
    shared: bool,
    two: bool,
    segments: Segmentation | None = None,
) -> Figure:
    """Draw matrices of the same shape, lettered, in a figure with one colour bar.

    Parameters
    ----------
    panels
        The matrices in order.
    across
        Width of the figure in inches.
    names
        Names of the colour bar, longest first.
    shared
        Whether all matrices have the same axes, so that only outer ones are numbered and named.
    two
        Whether rows and columns are of two captures.
    segments
        Segments to frame in each matrix.
    """
    rows, columns = panels[0].matrix.shape
    in_a_row = min(len(panels), next((most for least, most in _IN_A_ROW.items() if across >= least), 1))
    spacing = _SHARED if shared else _SEPARATE
    grid = arrange(across, [""] * len(panels), spacing, in_a_row=in_a_row, ratio=rows / columns, top=_TITLE)
    figure = Figure(figsize=(across, grid.bottom + _BELOW))
    scale = scale_of([panel.matrix for panel in panels])
    for index, (panel, axes) in enumerate(zip(panels, grid.place(figure), strict=True)):
        draw_cells(axes, panel.matrix, scale)
        _write_title(axes, ascii_lowercase[index], panel)
        if segments is not None:
            draw_boxes(axes, segments)
        left, below = index % in_a_row == 0, index + in_a_row >= len(panels)
        _name_axes(axes, panel.matrix, two, left=left or not shared, below=below or not shared)
    tall = grid.bottom - grid.top
    bar = place_axes(figure, across - _BAR_NAMES - _BAR, grid.top, _BAR, tall)
    draw_colour_bar(figure, bar, scale, longest_fitting(names, tall), "vertical")
    return figure


def _write_title(axes: Axes, letter: str, panel: MatrixPanel) -> None:
    """Write a bold letter, the title and, below it, the remark above the axes."""
    parts: list[tuple[str, float, float, dict[str, Any]]] = [
        (letter, 0.0, 11.0, {"fontsize": TEXT, "fontweight": "bold"}),
        (panel.title, 8.0, 11.0, {"fontsize": TEXT}),
        (panel.remark, 8.0, 3.0, {"fontsize": SMALL, "color": GREY}),
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


def _name_axes(axes: Axes, matrix: xr.DataArray, two: bool, *, left: bool, below: bool) -> None:
    """Name rows at the left and columns below, or remove the numbers of an inner axis."""
    width, height = axes_size(axes)
    if left:
        axes.set_ylabel(longest_fitting(layer_axis_names(matrix, 0, two), height))
    else:
        axes.tick_params(labelleft=False)
    if below:
        axes.set_xlabel(longest_fitting(layer_axis_names(matrix, 1, two)[1:], width))
    else:
        axes.tick_params(labelbottom=False)
