"""How often a parallel stage should run: loops against the number of affected blocks, as colours.

A sweep in, a figure out.
"""

from dataclasses import replace

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from layerscope.errors import MeasureError, UsageError
from layerscope.figures.canvas import Figure, longest_fitting, place_axes, wrapped
from layerscope.figures.cells import draw_bar, draw_cells, scale_of
from layerscope.figures.keys import draw_key, key_height
from layerscope.figures.scores import Quantity, column, depth_of, quantity_of, scores
from layerscope.figures.style import LINE, TEXT, applied, inches

__all__ = ["best_loops", "loop_matrix", "loops"]

_LEFT, _RIGHT, _TOP, _BELOW = 0.42, 0.10, 0.06, 0.38  # inches round the map
_BAR, _BAR_BELOW, _LINE_APART = 0.08, 0.36, 0.12
_HEIGHT, _WIDE_HEIGHT = 0.85, 0.42  # of the width, narrow and wide
_WIDE = 5.0
_DOT = 3.0  # points


def loops(
    dataset: xr.Dataset, quantity: str = "normalized", *, task: str | None = None, width: str | float = "single"
) -> Figure:
    """Draw looped parallel as a map: how often the stage runs, against the number of blocks in it (the paper's Fig. 10).

    Bright is good: a high score or a low loss. A dot marks the best number of loops for each M, the least of several
    equally good; where all are equal there is none. `parallel` counts as one loop.

    Parameters
    ----------
    dataset
        A sweep with several loop counts, as from ``--variants looped_parallel --loops 1-28``.
    quantity
        ``normalized``, ``loss``, ``loss_difference``, ``accuracy`` or ``accuracy_norm``.
    task
        One task; the median over all by default.
    width
        ``single`` (3.33 inches), ``double`` (6.9) or inches.

    Raises
    ------
    UsageError
        It is no sweep; there is no such quantity or task, or it is perplexity, which grows beyond any colour scale;
        `width` is impossible.
    MeasureError
        The sweep holds fewer than two loop counts, or not this quantity.

    Examples
    --------
    >>> runs = {"variant": ["identity", "looped_parallel", "looped_parallel"], "start": [-1, 0, 0], "loops": [-1, 1, 3]}
    >>> runs |= {"seed": [-1, -1, -1], "affected": [0, 3, 3], "stages": [4, 2, 4]}
    >>> columns = {name: ("run", values) for name, values in runs.items()}
    >>> dataset = xr.Dataset({"loss": (("task", "run"), [[2.0, 2.4, 5.0]])}, {"task": ["builtin:cloze"], **columns})
    >>> figure = loops(dataset, "loss")
    >>> figure.axes[0].get_ylabel()
    'loops'
    """
    kind = quantity_of(quantity)
    if quantity == "perplexity":
        raise UsageError("perplexity grows beyond any colour scale: draw quantity loss, its logarithm")
    matrix = loop_matrix(dataset, quantity, task)
    words = str(matrix.attrs["words"])
    with applied():
        across = inches(width)
        side = across - _LEFT - _RIGHT
        tall = side * (_HEIGHT if across < _WIDE else _WIDE_HEIGHT)
        dot = _dot([], [])
        dot.set_label("best number of loops for each M")
        top = max(_TOP, key_height([[dot]], side))
        name = wrapped(words, TEXT, side)
        below = _BAR_BELOW + (len(name) - 1) * _LINE_APART
        figure = Figure(figsize=(across, top + tall + _BELOW + _BAR + below))
        draw_key(figure, [[dot]], _LEFT, side)
        axes = place_axes(figure, _LEFT, top, side, tall)
        low, high = _ends(matrix, kind)
        scale = replace(scale_of([matrix], low, high), distance=kind.better < 0)
        draw_cells(axes, matrix, scale)
        axes.set_aspect("auto")
        axes.set_ylim(-0.5, len(matrix) - 0.5)  # loops go up, as numbers on an axis do
        _mark_best(axes, matrix, kind)
        depth = depth_of(dataset)
        axes.set_xlabel(
            longest_fitting(
                [f"number of affected blocks, M (of {depth})", f"affected blocks, M (of {depth})", "M"], side
            )
        )
        axes.set_ylabel("loops")
        bar = place_axes(figure, _LEFT, top + tall + _BELOW, side, _BAR)
        draw_bar(figure, bar, scale, "\n".join(name))
    return figure


def loop_matrix(dataset: xr.Dataset, quantity: str, task: str | None = None) -> xr.DataArray:
    """Return a quantity of looped parallel as ``[loops, affected]``, NaN where the sweep has no run.

    Raises
    ------
    UsageError, MeasureError
        As `loops`.
    """
    found = scores(dataset, quantity, task)
    variant, affected, counts = (column(dataset, name) for name in ("variant", "affected", "loops"))
    # Parallel first: where loops=1 was run by that name too, it is the same schedule.
    once = np.flatnonzero((variant == "parallel") & np.isfinite(found.values))
    looped = np.flatnonzero((variant == "looped_parallel") & np.isfinite(found.values))
    known = sorted({int(count) for count in counts[looped]})
    if len(known) < 2:
        has = f"loops={known[0]} alone" if known else "none"
        raise MeasureError(
            f"the map of loops needs several loop counts of looped_parallel, the sweep has {has}\n"
            "run layerscope sweep with --variants looped_parallel --loops 1-28"
        )
    rows = sorted({*known, *([1] if once.size else [])})
    columns = sorted({int(count) for count in affected[looped]})
    matrix = np.full((len(rows), len(columns)), np.nan)
    for runs, count_of in ((once, np.ones_like(counts)), (looped, counts)):
        for run in runs:
            if int(affected[run]) in columns:
                matrix[rows.index(int(count_of[run])), columns.index(int(affected[run]))] = found.values[run]
    return xr.DataArray(
        matrix,
        dims=("loops", "affected"),
        coords={"loops": rows, "affected": columns},
        name=quantity,
        attrs={"words": found.words},
    )


def best_loops(values: Float[np.ndarray, "loops affected"], better: int) -> list[int | None]:
    """Return for each column the row of its best value, the first of several; None where all are equal or missing.

    Examples
    --------
    >>> best_loops(np.array([[3.0, 2.0, 1.0], [2.0, 2.0, np.nan]]), better=-1)
    [1, None, None]
    """
    best: list[int | None] = []
    for of_one in (better * values).T:
        finite = of_one[np.isfinite(of_one)]
        differ = finite.size > 1 and not np.isclose(finite.min(), finite.max(), rtol=1e-9, atol=1e-12)
        best.append(int(np.nanargmax(of_one)) if differ else None)
    return best


def _ends(matrix: xr.DataArray, kind: Quantity) -> tuple[float, float]:
    """Return the ends of the colour scale: chance and full model where they are fixed, else those of the values."""
    if kind.ends is not None:
        return kind.ends
    low, high = float(np.nanmin(matrix)), float(np.nanmax(matrix))
    return (low, high) if high > low else (low, low + 1.0)


def _mark_best(axes: Axes, matrix: xr.DataArray, kind: Quantity) -> None:
    places = [(place, row) for place, row in enumerate(best_loops(matrix.values, kind.better)) if row is not None]
    axes.add_line(_dot([place for place, _ in places], [row for _, row in places]))


def _dot(along: list[int], up: list[int]) -> Line2D:
    return Line2D(
        along,
        up,
        linestyle="",
        marker="o",
        markersize=_DOT,
        markerfacecolor="white",
        markeredgecolor="black",
        markeredgewidth=LINE,
        label="_best",
        clip_on=False,
    )
