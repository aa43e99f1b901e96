"""Over training: how each layer comes to what it ends as, a line a layer.

The measured checkpoints in, a figure out.
"""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from layerscope.arguments import checked
from layerscope.datasets import require_variables
from layerscope.errors import UsageError
from layerscope.figures.parts.figure import Figure, axes_size, longest_fitting, place_axes, text_width, wrapped
from layerscope.figures.parts.matrix import Scale, draw_colour_bar, measure_name
from layerscope.figures.parts.style import SMALL, TEXT, colours, inches, styled

__all__ = ["training"]

_LEFT, _BETWEEN = 0.42, 0.14  # inches
_TOP, _BELOW, _TITLE_ROW = 0.12, 0.36, 0.115
_BAR_GAP, _BAR, _BAR_NAMES = 0.10, 0.08, 0.38
_HEIGHT, _WIDE = 0.8, 4.5  # of the width; from so many inches on, two side by side
_DOWN = 0.16
_TICK_APART = 0.06
_FEW = 12  # checkpoints, with markers
_PANELS = {"last": "with itself in the last checkpoint", "previous": "with itself in the checkpoint before"}


@checked
@styled
def training(result: xr.Dataset, *, width: str | float = "double") -> Figure:
    """Draw how alike each layer is, at each checkpoint, to itself at the end of training and to itself just before.

    A line a layer, its depth the colour. Checkpoints stand at even distances, by their steps, which in training runs are closer
    together at the beginning.

    Parameters
    ----------
    result
        From `layerscope.over_training`, or read from its file.
    width
        ``double`` (6.9 inches, both panels side by side), ``single`` (3.33, one above the other) or inches.

    Raises
    ------
    UsageError
        It is no such result; `width` is impossible.

    Examples
    --------
    >>> values = (("checkpoint", "layer"), [[0.2, 0.1], [1.0, 1.0]], {"long_name": "linear CKA, with itself in the last"})
    >>> figure = training(xr.Dataset({"cka_to_last": values}, {"step": ("checkpoint", [0, 1000])}, {"measure": "cka"}))
    >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
    ['0', '1000']
    """
    measure = str(result.attrs.get("measure", ""))
    panels = {
        words: result[f"{measure}_to_{name}"] for name, words in _PANELS.items() if f"{measure}_to_{name}" in result
    }
    if not panels or "step" not in result.coords:
        raise UsageError(
            "this holds no similarity over training: make it with layerscope training, or ls.over_training"
        )
    dims = {f"{measure}_to_{name}": ("checkpoint", "layer") for name in _PANELS} | {
        "step": ("checkpoint",),
        "layer": ("layer",),
    }
    require_variables(result, "training: make one with layerscope training, or ls.over_training", dims)
    layers = np.asarray(result["layer"].values) if "layer" in result.coords else np.arange(result.sizes["layer"])
    scale = Scale(float(layers.min()), float(max(layers.max(), layers.min() + 1)), False, "neither")
    figure, places, bar = _arrange(inches(width), list(panels))
    ends = _ends(list(panels.values()))
    for axes, matrix in zip(places, panels.values(), strict=True):
        _draw(axes, matrix, layers, scale)
        axes.set_ylim(*ends)
        _mark_steps(axes, np.asarray(result["step"].values))
    side_by_side = len(places) > 1 and places[0].get_position().y0 == places[1].get_position().y0
    for place, axes in enumerate(places):
        if side_by_side and place:
            axes.tick_params(labelleft=False)
        else:
            names = [measure_name(next(iter(panels.values()))).partition(", with itself")[0], measure.replace("_", " ")]
            axes.set_ylabel(longest_fitting(names, axes_size(axes)[1]))
        if side_by_side or place == len(places) - 1:
            axes.set_xlabel("step of training")
    draw_colour_bar(figure, bar, scale, "layer", "vertical")
    return figure


def _arrange(across: float, titles: list[str]) -> tuple[Figure, list[Axes], Axes]:
    """Make the figure, the axes of the panels, side by side where there is room, and those of the colour bar."""
    in_a_row = len(titles) if across >= _WIDE else 1
    side = (across - _LEFT - (in_a_row - 1) * _BETWEEN - _BAR_GAP - _BAR - _BAR_NAMES) / in_a_row
    tall = side * _HEIGHT
    lines = [wrapped(title, TEXT, side) for title in titles]
    top = _TOP + _TITLE_ROW * max(map(len, lines))
    rows = -(-len(titles) // in_a_row)
    step = tall + top + _DOWN
    figure = Figure(figsize=(across, top + tall + (rows - 1) * step + _BELOW))
    places = []
    for index, words in enumerate(lines):
        row, column = divmod(index, in_a_row)
        axes = place_axes(figure, _LEFT + column * (side + _BETWEEN), top + row * step, side, tall)
        axes.set_title("\n".join(words), loc="left", pad=3.0)
        places.append(axes)
    bar = place_axes(figure, across - _BAR_NAMES - _BAR, top, _BAR, tall + (rows - 1) * step)
    return figure, places, bar


def _draw(axes: Axes, matrix: xr.DataArray, layers: np.ndarray, scale: Scale) -> None:
    values = np.asarray(matrix.transpose("checkpoint", "layer"), dtype=np.float64)
    palette, norm = colours(False), scale.norm()
    marker = "o" if len(values) <= _FEW else ""
    for layer, line in zip(layers, values.T, strict=True):
        axes.plot(
            np.arange(len(line)), line, color=palette(norm(layer)), marker=marker, markeredgewidth=0.0, linewidth=0.8
        )


def _ends(panels: list[xr.DataArray]) -> tuple[float, float]:
    """Return one scale for all panels: 0 to 1 where the values lie so, else as far as they go."""
    values = np.concatenate([np.asarray(panel, dtype=np.float64).ravel() for panel in panels])
    values = values[np.isfinite(values)]
    low, high = (min(0.0, values.min()), max(1.0, values.max())) if values.size else (0.0, 1.0)
    rim = 0.03 * (high - low)
    return float(low - rim), float(high + rim)


def _mark_steps(axes: Axes, steps: np.ndarray) -> None:
    """Label as many checkpoints with their steps as there is room for, the last one always."""
    names = [str(step) for step in steps]
    room = axes_size(axes)[0] / max(1, len(names) - 1 + 0.1)
    every = max(1, int(np.ceil((max(text_width(name, SMALL) for name in names) + _TICK_APART) / room)))
    places = list(range(len(names) - 1, -1, -every))[::-1]
    axes.set_xlim(-0.05 * max(1, len(names) - 1), 1.05 * max(1, len(names) - 1))
    axes.set_xticks(places, labels=[names[place] for place in places])
