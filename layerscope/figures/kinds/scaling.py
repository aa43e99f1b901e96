"""Models of several sizes beside each other: a row of heatmaps with their segments, and how many layers each has.

A scaling in, a figure out.
"""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from layerscope.arguments import checked
from layerscope.cross_model.scaling_dataset import SEGMENTS
from layerscope.cross_model.scaling_fits import FORMS
from layerscope.datasets import require_variables
from layerscope.errors import MeasureError, UsageError, unknown_name
from layerscope.figures.parts.figure import Figure, place_axes, wrapped
from layerscope.figures.parts.legend import draw_legend, legend_height
from layerscope.figures.parts.matrix import draw_cells, draw_colour_bar, scale_of
from layerscope.figures.parts.scaling_curves import draw_counts, draw_shares, entries
from layerscope.figures.parts.segments import draw_boxes
from layerscope.figures.parts.style import SMALL, TEXT, applied, inches
from layerscope.segmentation.segmentation import describe_partition

__all__ = ["scaling"]

_IN_A_ROW = {5.0: 5, 3.0: 3}  # from so many inches on, so many matrices in a row; below, two
_WIDE = 5.0  # inches: from here on the two plots stand side by side
_LEFT, _RIGHT = 0.42, 0.10  # inches
_ACROSS, _TICKS = 0.24, 0.26  # between matrices, and below them
_LINE_APART, _TITLE = 0.10, 0.05
_BAR_BELOW, _BAR, _BAR_NAMES = 0.10, 0.08, 0.40
_LOWER, _LOWER_APART, _AXIS = 0.62, 0.52, 0.36  # height over width of a plot; between two; ticks and name below one


@checked
def scaling(
    dataset: xr.Dataset, measure: str | None = None, *, exclude_first: int | None = None, width: str | float = "double"
) -> Figure:
    """Draw one similarity of several models: their heatmaps (the paper's Fig. 14), and the layers of their segments.

    Above, the matrices on one colour scale, the smallest model first, their segments framed. Below, the number of
    layers of each segment against the states, both axes logarithmic, and their proportion against the parameters. Bars are
    95 % intervals over texts, lines the form that the key names: the one the data support. Where a form depends on more
    than the axis shows, its values at the models are joined.

    Parameters
    ----------
    dataset
        What `layerscope.scaling` returned, or read from its file.
    measure
        One of its measures; ``cosine`` by default, or the first where that is not there.
    exclude_first
        The reading with so many tokens left out at each start; the least by default.
    width
        ``double`` (6.9 inches), ``single`` (3.33) or inches.

    Raises
    ------
    UsageError
        It is no scaling; there is no such measure; `width` is impossible.
    MeasureError
        The measure was not read with so many tokens left out.

    Examples
    --------
    >>> import layerscope as ls
    >>> def analysis(sizes):
    ...     owner = np.repeat([0, 1, 2], sizes)
    ...     matrix = np.where(owner[:, None] == owner, 1.0, 0.1)
    ...     dims, depth = ("layer", "layer_other"), len(owner) - 1
    ...     return xr.Dataset(
    ...         {"cosine": (dims, matrix), "cosine_bootstrap": (("replicate", *dims), np.stack([matrix] * 4))},
    ...         {"layer": np.arange(depth + 1)},
    ...         {"model": f"of {depth}", "num_blocks": depth, "parameters": 1000 * depth},
    ...     )
    >>> figure = scaling(ls.scaling([analysis([2, 6, 1]), analysis([2, 10, 1])]))
    >>> len(figure.axes)  # two matrices, their colour bar, two plots
    5
    """
    reading = _reading(dataset, measure, exclude_first)
    matrices = [_matrix(reading, place) for place in range(reading.sizes["model"])]
    with applied():
        across = inches(width)
        key = entries(reading)
        room = across - _LEFT - _RIGHT
        figure, places, bar, plots, key_top = _arrange(across, _titles(reading), legend_height([key], room))
        scale = scale_of(matrices)
        for place, (axes, matrix) in enumerate(zip(places, matrices, strict=True)):
            draw_cells(axes, matrix, scale)
            draw_boxes(axes, describe_partition(matrix, np.asarray(matrix), _starts(reading, place)))
        places[0].set_ylabel("layer")
        draw_colour_bar(figure, bar, scale, "\n".join(wrapped(_name(reading), TEXT, room)))
        draw_legend(figure, [key], _LEFT, room, top=key_top)
        for axes, draw in zip(plots, (draw_counts, draw_shares), strict=True):
            axes.spines[["top", "right"]].set_visible(False)
            draw(axes, reading)
    return figure


_TEXT = ("model", "measure", "long_name", "segment", "supported", "form")
_DIMS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(["model", "states", "parameters"], ("model",)),
    **dict.fromkeys(["measure", "long_name", "excluded_first"], ("reading",)),
    **dict.fromkeys(["size", "size_low", "size_high"], ("model", "reading", "segment")),
    **dict.fromkeys(["proportion", "proportion_low", "proportion_high"], ("model", "reading", "segment")),
    **dict.fromkeys(["intercept", "slope"], ("reading", "segment", "form")),
    "supported": ("reading", "segment"),
    "segment": ("segment",),
    "form": ("form",),
    "similarity": ("model", "reading", "layer", "layer_other"),
}
"""What the figure reads of a scaling, by its dimensions."""


def _reading(dataset: xr.Dataset, measure: str | None, exclude_first: int | None) -> xr.Dataset:
    if "reading" not in dataset.dims or "similarity" not in dataset:
        raise UsageError("this is no scaling: make one with layerscope scaling, or ls.scaling")
    require_variables(
        dataset, "scaling: make one with layerscope scaling, or ls.scaling", _DIMS, required=_DIMS, text=_TEXT
    )
    if int(dataset.states.max()) > min(dataset.sizes["layer"], dataset.sizes["layer_other"]):
        raise UsageError("this scaling has fewer layers than its models have states: make it anew, or take all layers")
    for label, known in (("segment", SEGMENTS), ("form", FORMS)):
        if missing := [name for name in known if name not in dataset[label].values]:
            raise UsageError(
                f"this scaling lacks the {label} {', '.join(missing)}\nselect all of them, or make it again"
            )
    names = dataset.measure.values.tolist()
    name = measure or ("cosine" if "cosine" in names else names[0])
    if name not in names:
        raise unknown_name("measure in this scaling", name, list(dict.fromkeys(names)))
    places = [place for place, of in enumerate(names) if of == name]
    left_out = dataset.excluded_first.values[places].tolist()
    wanted = min(left_out) if exclude_first is None else exclude_first
    if wanted not in left_out:
        held = " and ".join(map(str, left_out))
        raise MeasureError(
            f"{name} was read with {held} tokens left out, not {wanted}: analyze with --exclude-first {wanted}"
        )
    return dataset.isel(reading=places[left_out.index(wanted)])


def _name(reading: xr.Dataset) -> str:
    left_out = int(reading.excluded_first)
    if not left_out or "without their first" in str(reading.long_name.item()):
        return str(reading.long_name.item())
    return f"{reading.long_name.item()}, first {'token' if left_out == 1 else f'{left_out} tokens'} left out"


def _matrix(reading: xr.Dataset, place: int) -> xr.DataArray:
    states = int(reading.states[place])
    return reading["similarity"].isel(model=place, layer=slice(states), layer_other=slice(states))


def _starts(reading: xr.Dataset, place: int) -> tuple[int, ...]:
    return tuple(int(start) for start in np.cumsum(reading["size"].values[place])[:-1])


def _titles(reading: xr.Dataset) -> list[str]:
    """Return the models' names, without the owner where that leaves them distinct."""
    names = [str(name) for name in reading.model.values]
    short = [name.rpartition("/")[2] for name in names]
    return short if len(set(short)) == len(short) else names


def _arrange(across: float, titles: list[str], key: float) -> tuple[Figure, list[Axes], Axes, list[Axes], float]:
    """Make the figure, the axes of the matrices, of their colour bar, and of the plots, and say where the key begins."""
    most = next((count for least, count in _IN_A_ROW.items() if across >= least), 2)
    rows = -(-len(titles) // most)
    in_a_row = -(-len(titles) // rows)
    side = (across - _LEFT - _RIGHT - (max(in_a_row, min(most, 3)) - 1) * _ACROSS) / max(in_a_row, min(most, 3))
    lines = [_broken(title, side) for title in titles]
    tops, below = [], 0.02
    for first in range(0, len(lines), in_a_row):
        tops.append(below + _TITLE + _LINE_APART * max(len(words) for words in lines[first : first + in_a_row]))
        below = tops[-1] + side + _TICKS
    bar_top = below + _BAR_BELOW - 0.06
    key_top = bar_top + _BAR + _BAR_NAMES
    plots_top = key_top + key + 0.06
    side_by_side = across >= _WIDE
    wide = (across - _LEFT - _RIGHT - (_LOWER_APART if side_by_side else 0)) / (2 if side_by_side else 1)
    tall = wide * _LOWER
    heights = plots_top + tall + _AXIS + (0 if side_by_side else tall + _AXIS + 0.06)
    figure = Figure(figsize=(across, heights))
    places = []
    for index, words in enumerate(lines):
        row, column = divmod(index, in_a_row)
        axes = place_axes(figure, _LEFT + column * (side + _ACROSS), tops[row], side, side)
        axes.set_title("\n".join(words), loc="left", pad=2.5, fontsize=SMALL, linespacing=1.15)
        places.append(axes)
    bar = place_axes(figure, _LEFT, bar_top, min(across - _LEFT - _RIGHT, 3.0), _BAR)
    second = (_LEFT + wide + _LOWER_APART, plots_top) if side_by_side else (_LEFT, plots_top + tall + _AXIS + 0.06)
    plots = [place_axes(figure, left, top, wide, tall) for left, top in ((_LEFT, plots_top), second)]
    return figure, places, bar, plots, key_top


def _broken(name: str, room: float) -> list[str]:
    """Break a model's name at its hyphens and underscores, where it is too long for one line."""
    parts = name.replace("-", "- ").replace("_", "_ ")
    return [line.replace("- ", "-").replace("_ ", "_") for line in wrapped(parts, SMALL, room)]
