"""The per-layer statistics of an analysis over depth, as small multiples.

An analysis in, a figure out.
"""

from typing import Any, Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from layerscope.arguments import checked
from layerscope.errors import UsageError
from layerscope.figures.data.adjacent_layers import with_adjacent_layers
from layerscope.figures.parts.figure import Figure, axes_size, longest_fitting, place_axes, wrapped
from layerscope.figures.parts.legend import draw_legend, legend_height
from layerscope.figures.parts.matrix import tick_positions
from layerscope.figures.parts.segments import segment_names
from layerscope.figures.parts.style import BAND, FIRST, GREY, SECOND, SHADE, TEXT, inches, styled
from layerscope.measures.derived import is_derived
from layerscope.segmentation.segmentation import Segmentation
from layerscope.segmentation.similarity import require_analysis

__all__ = ["profile", "statistics_of"]

_ORDER = ("norm", "max_abs", "variance", "participation_ratio", "effective_rank", "block_influence")
_MAGNITUDES = ("norm", "max_abs", "variance")  # grow by factors over depth
_FACTOR = 10.0  # on a logarithmic axis only where a magnitude grows by more
_TWO_BELOW, _THREE = 5.0, 3  # columns by width in inches
_LEFT, _RIGHT, _DOWN, _BELOW = 0.40, 0.06, 0.22, 0.36  # inches round each statistic
_HEIGHT = 0.62  # of the width
_LINE_APART = 0.115
_TITLE = 0.08
_MARKER_APART = 0.045  # inches
_CAPTURES: tuple[tuple[str, str, str, Literal["-", "--"]], ...] = (
    ("", "layer", FIRST, "-"),
    ("_other", "layer_other", SECOND, "--"),
)
_REFERENCES: dict[str, tuple[str, Any]] = {
    "null": ("by chance", (0, (1, 1.6))),
    "ceiling": ("split-half reliability", (0, (5, 1.6, 1, 1.6))),
}


@checked
@styled
def profile(result: xr.Dataset, segments: Segmentation | None = None, *, width: str | float = "double") -> Figure:
    """Draw every per-layer statistic of an analysis against the layer.

    Bootstrap intervals, where the analysis holds them, are bands. Magnitudes (norm, largest value, variance) that grow
    more than tenfold stand on a logarithmic axis. Of two captures the first is a full line, the second a broken one.

    Measures between layers are drawn too if the analysis holds what chance gives for them (``<name>_null``, dotted, its 95 %
    interval a grey band) or their split-half reliability (``<name>_ceiling``, dash-dotted): at each layer the value with the
    layer before, between two captures that of the same layer of both.

    Parameters
    ----------
    result
        An analysis with variables over ``layer``: ``norm``, ``max_abs``, ``variance``, ….
    segments
        If given, every second segment is shaded: of three, the middle.
    width
        ``double`` (6.9 inches, three in a row), ``single`` (3.33, two in a row) or inches.

    Raises
    ------
    UsageError
        The analysis holds no statistic over layers; the segments are of another number of layers; `width` is
        impossible.

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
    key = _key(result, names, segments)
    figure, places, in_a_row = _arrange(inches(width), [_title(result, name) for name in names], key)
    for index, (name, axes) in enumerate(zip(names, places, strict=True)):
        _draw(axes, result, name)
        _finish(axes, result, last=index + in_a_row >= len(names))
        if segments is not None:
            _shade(axes, result, segments)
    return figure


def statistics_of(result: xr.Dataset) -> list[str]:
    """Return the names of an analysis' per-layer statistics, the well-known first; bounds and second captures left out.

    Examples
    --------
    >>> statistics_of(xr.Dataset({"drift": ("layer", [0.5]), "norm": ("layer", [1.0]), "norm_low": ("layer", [0.9])}))
    ['norm', 'drift']
    """
    found = [
        str(name)
        for name, variable in result.data_vars.items()
        if variable.dims == ("layer",) and variable.dtype.kind in "fiu" and not is_derived(name)
    ]
    return [name for name in _ORDER if name in found] + [name for name in found if name not in _ORDER]


def _title(result: xr.Dataset, name: str) -> str:
    return str(result[name].attrs.get("long_name") or name.replace("_", " "))


def _numbers(result: xr.Dataset, dimension: str) -> np.ndarray:
    return np.asarray(result[dimension].values) if dimension in result.coords else np.arange(result.sizes[dimension])


def _arrange(across: float, titles: list[str], key: list[list[Line2D | Patch]]) -> tuple[Figure, list[Axes], int]:
    """Make the figure with its key, and the axes, each with room for its own ticks and for the lines of its title."""
    in_a_row = min(len(titles), 2 if across < _TWO_BELOW else _THREE)
    room = across / in_a_row
    side = room - _LEFT - _RIGHT
    tall = side * _HEIGHT
    lines = [wrapped(title, TEXT, side) for title in titles]
    tops, below = [], legend_height(key, across - _LEFT - _RIGHT)
    for first in range(0, len(lines), in_a_row):
        tops.append(below + _TITLE + _LINE_APART * max(len(words) for words in lines[first : first + in_a_row]))
        below = tops[-1] + tall + _DOWN
    figure = Figure(figsize=(across, below - _DOWN + _BELOW))
    draw_legend(figure, key, _LEFT, across - _LEFT - _RIGHT)
    places = []
    for index, words in enumerate(lines):
        row, column = divmod(index, in_a_row)
        axes = place_axes(figure, column * room + _LEFT, tops[row], side, tall)
        axes.set_title("\n".join(words), loc="left", pad=3.0)
        places.append(axes)
    return figure, places, in_a_row


def _draw(axes: Axes, result: xr.Dataset, name: str) -> None:
    """Draw one statistic of one or two captures, with its intervals, on the axis that suits it."""
    shown = []
    for suffix, dimension, colour, style in _CAPTURES:
        if f"{name}{suffix}" not in result:
            continue
        layer, values = _numbers(result, dimension), np.asarray(result[f"{name}{suffix}"], dtype=np.float64)
        sparse = len(layer) * _MARKER_APART <= axes_size(axes)[0]
        axes.plot(layer, values, color=colour, linestyle=style, marker="o" if sparse else "", markeredgewidth=0.0)
        shown.append(values)
        bounds = [result.get(f"{name}{suffix}{bound}") for bound in ("_low", "_high")]
        if bounds[0] is not None and bounds[1] is not None:
            low, high = (np.asarray(bound, dtype=np.float64) for bound in bounds)
            axes.fill_between(layer, low, high, color=colour, alpha=BAND, linewidth=0.0)
            shown += [low, high]
    shown += _draw_references(axes, result, name)
    everything = np.concatenate(shown)
    _set_scale(axes, name, everything[np.isfinite(everything)])


def _draw_references(axes: Axes, result: xr.Dataset, name: str) -> list[np.ndarray]:
    """Draw what chance gives, with its interval, and the split-half reliability, where there are any; return the values drawn."""
    layer, shown = _numbers(result, "layer"), []
    found = {ending: np.asarray(result[f"{name}_{ending}"]) for ending in _REFERENCES if f"{name}_{ending}" in result}
    for ending, values in found.items():
        axes.plot(layer, values, color=GREY, linestyle=_REFERENCES[ending][1], linewidth=0.8, zorder=1.8)
        shown.append(values)
    if "null" in found:
        low, high = (np.asarray(result[f"{name}_null_{bound}"]) for bound in ("low", "high"))
        axes.fill_between(layer, low, high, color=GREY, alpha=BAND, linewidth=0.0, zorder=1.5)
        shown += [low, high]
    return shown


def _set_scale(axes: Axes, name: str, values: np.ndarray) -> None:
    """Choose a logarithmic or a linear axis; numbers are written out, never as an offset in a corner."""
    logarithmic = name in _MAGNITUDES and values.size > 0 and values.min() > 0 and values.max() / values.min() > _FACTOR
    if logarithmic:
        axes.set_yscale("log")
        decades = np.log10(values.max() / values.min())
        within = (1.0, 2.0, 5.0) if decades < 1.5 else (1.0, 3.0) if decades < 2.5 else (1.0,)
        axes.yaxis.set_major_locator(LogLocator(subs=within, numticks=6))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))


def _finish(axes: Axes, result: xr.Dataset, last: bool) -> None:
    """Set the layer axis: numbers on all, the name at the bottom of each column."""
    layer = _numbers(result, "layer")
    if "layer_other" in result.dims and len(_numbers(result, "layer_other")) > len(layer):
        layer = _numbers(result, "layer_other")
    width, _ = axes_size(axes)
    margin = max(0.5, 0.02 * float(layer[-1] - layer[0]))
    axes.set_xlim(float(layer[0]) - margin, float(layer[-1]) + margin)
    places = tick_positions(layer, most=max(2, int(width / 0.25)))
    axes.set_xticks([int(layer[place]) for place in places])
    axes.spines[["top", "right"]].set_visible(False)
    if last:
        names = ["layer (0 = embedding)", "layer"] if 0 in layer else ["layer"]
        axes.set_xlabel(longest_fitting(names, width))


def _shade(axes: Axes, result: xr.Dataset, segments: Segmentation) -> None:
    """Shade every second segment, half-way between the layers on both sides of a boundary."""
    layer = _numbers(result, "layer").astype(np.float64)
    edges = np.concatenate([[layer[0] - 99.0], (layer[1:] + layer[:-1]) / 2, [layer[-1] + 99.0]])
    for start, size in list(zip(segments.starts, segments.sizes, strict=True))[1::2]:
        axes.axvspan(edges[start], edges[start + size], color=SHADE, linewidth=0.0, zorder=0)


def _key(result: xr.Dataset, names: list[str], segments: Segmentation | None) -> list[list[Line2D | Patch]]:
    """Say which line is which capture, which segments are shaded, and what chance and split-half reliability look like."""
    about: list[Line2D | Patch] = []
    if any(f"{name}_other" in result for name in names):
        for (_, _, colour, style), words in zip(_CAPTURES, ("first capture", "second capture"), strict=True):
            about.append(Line2D([], [], color=colour, linestyle=style, label=words))
    if segments is not None and len(segments.sizes) > 1:
        labels = segment_names(segments, _numbers(result, "layer"))
        numbers = [str(number) for number in range(2, len(labels) + 1, 2)]
        about.append(Patch(color=SHADE, label=labels[1] if len(numbers) == 1 else f"segments {', '.join(numbers)}"))
    references: list[Line2D | Patch] = [
        Line2D([], [], color=GREY, linestyle=style, linewidth=0.8, label=words)
        for ending, (words, style) in _REFERENCES.items()
        if any(f"{name}_{ending}" in result for name in names)
    ]
    return [about, references]
