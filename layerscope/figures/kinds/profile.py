"""Draw the statistics of each layer over depth, a panel a statistic."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from layerscope.arguments import checked
from layerscope.errors import UsageError
from layerscope.figures.data.adjacent_layers import with_adjacent_layers
from layerscope.figures.data.chosen_segments import chosen_segments
from layerscope.figures.data.layer_statistics import layer_numbers_of, statistics_of
from layerscope.figures.parts.figure import Figure, axes_size, longest_fitting
from layerscope.figures.parts.grid import Spacing, arrange
from layerscope.figures.parts.legend import draw_legend, legend_height
from layerscope.figures.parts.matrix import tick_positions
from layerscope.figures.parts.segments import segment_names
from layerscope.figures.parts.statistics import CAPTURES, REFERENCES, draw_statistic
from layerscope.figures.parts.style import GREY, SHADE, inches, styled
from layerscope.segmentation.analysis_matrices import require_analysis
from layerscope.segmentation.segmentation import Segmentation
from layerscope.stream_names import axis_word

__all__ = ["profile", "profile_of_analysis"]

_TWO_BELOW, _THREE = 5.0, 3  # panels in a row by width in inches
_LEFT, _RIGHT, _BELOW = 0.40, 0.06, 0.36  # inches
_SPACING = Spacing(_LEFT, _RIGHT, between=_LEFT + _RIGHT, down=0.22, title=0.08, line=0.115)
_HEIGHT = 0.62  # of the width


@checked
@styled
def profile(result: xr.Dataset, segments: Segmentation | None = None, *, width: str | float = "double") -> Figure:
    """Draw every per-layer statistic of an analysis against the layer.

    Bootstrap intervals are bands. Magnitudes (norm, largest value, variance) that grow more than tenfold have a logarithmic
    axis. The first of two captures is a solid line, the second a dashed one. A statistic without any value is a panel with the
    text "no values".

    Measures between layers are drawn too if the analysis has their permutation null (``<name>_null``, dotted, with its 95 %
    interval as a grey band) or their split-half reliability (``<name>_ceiling``, dash-dotted): each layer with the layer
    before, or between two captures the same layer of both.

    Parameters
    ----------
    result
        An analysis with variables over ``layer``: ``norm``, ``max_abs``, ``variance``, ….
    segments
        Segments of which every second one is shaded, so of three the middle.
    width
        ``double`` (6.9 inches, three in a row), ``single`` (3.33, two in a row) or inches.

    Raises
    ------
    UsageError
        The analysis has no statistic over layers; the segments have another number of layers; `width` is invalid.

    Examples
    --------
    >>> figure = profile(xr.Dataset({"norm": ("layer", [1.0, 8.0, 90.0]), "variance": ("layer", [0.1, 0.2, 0.4])}))
    >>> [axes.get_yscale() for axes in figure.axes]
    ['log', 'linear']
    """
    require_analysis(result, "layer")
    result = with_adjacent_layers(result)
    names = statistics_of(result)
    if not names:
        raise UsageError("the analysis holds no statistic over layers: analyze again with --measures norm,variance")
    layers = result.sizes["layer"]
    if segments is not None and sum(segments.sizes) != layers:
        raise UsageError(
            f"the segments are of {sum(segments.sizes)} layers, the statistics of {layers}: segment the same analysis"
        )
    across = inches(width)
    groups, room = _legend(result, names, segments), across - _LEFT - _RIGHT
    titles = [str(result[name].attrs.get("long_name") or name.replace("_", " ")) for name in names]
    in_a_row = min(len(names), 2 if across < _TWO_BELOW else _THREE)
    rows = arrange(across, titles, _SPACING, in_a_row=in_a_row, ratio=_HEIGHT, top=legend_height(groups, room))
    figure = Figure(figsize=(across, rows.bottom + _BELOW))
    draw_legend(figure, groups, _LEFT, room)
    for index, (name, axes) in enumerate(zip(names, rows.place(figure), strict=True)):
        draw_statistic(axes, result, name)
        _finish(axes, result, last=index + in_a_row >= len(names))
        if segments is not None:
            _shade(axes, result, segments)
    return figure


def profile_of_analysis(result: xr.Dataset, *, width: str, **options: Any) -> Figure:
    """Draw the statistics of an analysis, with the segments that the options request."""
    return profile(result, segments=chosen_segments(result, options), width=width)


def _finish(axes: Axes, result: xr.Dataset, last: bool) -> None:
    """Set the layer axis, and name it at the bottom of each column."""
    layer = layer_numbers_of(result, "layer")
    if "layer_other" in result.dims and len(layer_numbers_of(result, "layer_other")) > len(layer):
        layer = layer_numbers_of(result, "layer_other")
    width, _ = axes_size(axes)
    margin = max(0.5, 0.02 * float(layer[-1] - layer[0]))
    axes.set_xlim(float(layer[0]) - margin, float(layer[-1]) + margin)
    places = tick_positions(layer, most=max(2, int(width / 0.25)))
    axes.set_xticks([int(layer[place]) for place in places])
    axes.spines[["top", "right"]].set_visible(False)
    if last:
        word = axis_word(result.attrs)
        names = ["layer (0 = embedding)", "layer"] if word == "layer" and 0 in layer else [word]
        axes.set_xlabel(longest_fitting(names, width))


def _shade(axes: Axes, result: xr.Dataset, segments: Segmentation) -> None:
    """Shade every second segment, up to half-way between the layers at its boundaries."""
    layer = layer_numbers_of(result, "layer").astype(np.float64)
    edges = np.concatenate([[layer[0] - 99.0], (layer[1:] + layer[:-1]) / 2, [layer[-1] + 99.0]])
    for start, size in list(zip(segments.starts, segments.sizes, strict=True))[1::2]:
        axes.axvspan(edges[start], edges[start + size], color=SHADE, linewidth=0.0, zorder=0)


def _legend(result: xr.Dataset, names: list[str], segments: Segmentation | None) -> list[list[Line2D | Patch]]:
    """Return legend entries of the captures, the shaded segments, the null and the reliability."""
    captures: list[Line2D | Patch] = []
    if any(f"{name}_other" in result for name in names):
        for (_, _, colour, style), text in zip(CAPTURES, ("first capture", "second capture"), strict=True):
            captures.append(Line2D([], [], color=colour, linestyle=style, label=text))
    if segments is not None and len(segments.sizes) > 1:
        labels = segment_names(segments, layer_numbers_of(result, "layer"))
        numbers = [str(number) for number in range(2, len(labels) + 1, 2)]
        captures.append(Patch(color=SHADE, label=labels[1] if len(numbers) == 1 else f"segments {', '.join(numbers)}"))
    references: list[Line2D | Patch] = [
        Line2D([], [], color=GREY, linestyle=style, linewidth=0.8, label=text)
        for ending, (text, style) in REFERENCES.items()
        if any(f"{name}_{ending}" in result for name in names)
    ]
    return [captures, references]
