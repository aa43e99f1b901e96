"""Draw how each layer approaches its final state during training, a line a layer."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from layerscope.arguments import checked
from layerscope.datasets import require_variables
from layerscope.errors import UsageError
from layerscope.figures.data.layer_matrix import measure_name
from layerscope.figures.data.layer_statistics import layer_numbers_of
from layerscope.figures.parts.colour_scale import Scale, draw_colour_bar
from layerscope.figures.parts.figure import Figure, axes_size, longest_fitting, place_axes, text_width
from layerscope.figures.parts.grid import Spacing, arrange
from layerscope.figures.parts.missing import mark_missing
from layerscope.figures.parts.style import SMALL, colours, inches, styled

__all__ = ["training"]

_BELOW = 0.36  # inches
_BAR_GAP, _BAR, _BAR_NAMES = 0.10, 0.08, 0.38
_SPACING = Spacing(left=0.42, right=_BAR_GAP + _BAR + _BAR_NAMES, between=0.14, down=0.16, title=0.12, line=0.115)
_HEIGHT = 0.8  # of the width
_WIDE = 4.5  # inches: panels side by side
_TICK_APART = 0.06
_FEW = 12  # checkpoints with markers
_PANELS = {"last": "with itself in the last checkpoint", "previous": "with itself in the checkpoint before"}


@checked
@styled
def training(result: xr.Dataset, *, width: str | float = "double") -> Figure:
    """Draw how similar each layer is, at each checkpoint, to itself at the end of training and one checkpoint before.

    The colour of a line is the depth of its layer. Checkpoints have equal distances, because training runs save more of them
    at the beginning.

    Parameters
    ----------
    result
        Result of `layerscope.over_training`, or its file.
    width
        ``double`` (6.9 inches, panels side by side), ``single`` (3.33, one above the other) or inches.

    Raises
    ------
    UsageError
        It is no such result; `width` is invalid.

    Examples
    --------
    >>> values = (("checkpoint", "layer"), [[0.2, 0.1], [1.0, 1.0]], {"long_name": "linear CKA, with itself in the last"})
    >>> figure = training(xr.Dataset({"cka_to_last": values}, {"step": ("checkpoint", [0, 1000])}, {"measure": "cka"}))
    >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
    ['0', '1000']
    """
    measure, panels = _panels(result)
    layers, steps = layer_numbers_of(result, "layer"), np.asarray(result["step"].values)
    scale = Scale(float(layers.min()), float(max(layers.max(), layers.min() + 1)), False, "neither")
    across = inches(width)
    in_a_row = len(panels) if across >= _WIDE else 1
    rows = arrange(across, list(panels), _SPACING, in_a_row=in_a_row, ratio=_HEIGHT)
    figure = Figure(figsize=(across, rows.bottom + _BELOW))
    places = rows.place(figure)
    bar = place_axes(figure, across - _BAR_NAMES - _BAR, rows.top, _BAR, rows.bottom - rows.top)
    ends = _ends(list(panels.values()))
    for axes, matrix in zip(places, panels.values(), strict=True):
        _draw(axes, matrix, layers, scale)
        axes.set_ylim(*ends)
        _mark_steps(axes, steps)
    names = [measure_name(next(iter(panels.values()))).partition(", with itself")[0], measure.replace("_", " ")]
    for index, axes in enumerate(places):
        if index % in_a_row:
            axes.tick_params(labelleft=False)
        else:
            axes.set_ylabel(longest_fitting(names, axes_size(axes)[1]))
        if index + in_a_row >= len(places):
            axes.set_xlabel("step of training")
    draw_colour_bar(figure, bar, scale, "layer", "vertical")
    return figure


def _panels(result: xr.Dataset) -> tuple[str, dict[str, xr.DataArray]]:
    """Return the measure, and the variables to draw by their titles."""
    measure = str(result.attrs.get("measure", ""))
    variables = {name: f"{measure}_to_{name}" for name in _PANELS}
    panels = {_PANELS[name]: result[variable] for name, variable in variables.items() if variable in result}
    if not panels or "step" not in result.coords:
        raise UsageError(
            "this holds no similarity over training: make it with layerscope training, or ls.over_training"
        )
    dims = dict.fromkeys(variables.values(), ("checkpoint", "layer")) | {"step": ("checkpoint",), "layer": ("layer",)}
    require_variables(result, "training: make one with layerscope training, or ls.over_training", dims)
    return measure, panels


def _draw(axes: Axes, matrix: xr.DataArray, layers: np.ndarray, scale: Scale) -> None:
    values = np.asarray(matrix.transpose("checkpoint", "layer"), dtype=np.float64)
    palette, norm = colours(False), scale.norm()
    marker = "o" if len(values) <= _FEW else ""
    for layer, line in zip(layers, values.T, strict=True):
        axes.plot(
            np.arange(len(line)), line, color=palette(norm(layer)), marker=marker, markeredgewidth=0.0, linewidth=0.8
        )
    mark_missing(axes, values)


def _ends(panels: list[xr.DataArray]) -> tuple[float, float]:
    """Return the limits of all panels: 0 to 1, or further if values are outside."""
    values = np.concatenate([np.asarray(panel, dtype=np.float64).ravel() for panel in panels])
    values = values[np.isfinite(values)]
    low, high = (min(0.0, values.min()), max(1.0, values.max())) if values.size else (0.0, 1.0)
    rim = 0.03 * (high - low)
    return float(low - rim), float(high + rim)


def _mark_steps(axes: Axes, steps: np.ndarray) -> None:
    """Label as many checkpoints with their steps as fit, and always the last one."""
    names = [str(step) for step in steps]
    room = axes_size(axes)[0] / max(1, len(names) - 1 + 0.1)
    every = max(1, int(np.ceil((max(text_width(name, SMALL) for name in names) + _TICK_APART) / room)))
    places = list(range(len(names) - 1, -1, -every))[::-1]
    axes.set_xlim(-0.05 * max(1, len(names) - 1), 1.05 * max(1, len(names) - 1))
    axes.set_xticks(places, labels=[names[place] for place in places])
