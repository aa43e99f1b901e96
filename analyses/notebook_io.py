"""Read the notebooks' input, and write their figures, tables and numbers.

`results.mk` makes the input; the folder is named after its data: `builtin` or `benchmarks`.
"""

import math
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from IPython.display import Markdown, display

import layerscope as ls
from layerscope.cache import cache_root
from layerscope.figures.parts.figure import Figure, place_axes
from layerscope.figures.parts.colour_scale import draw_colour_bar, scale_of
from layerscope.figures.parts.matrix import draw_cells
from layerscope.figures.parts.grid import make_grid
from layerscope.figures.parts.style import applied, inches, styled

DATA = "benchmarks" if os.environ.get("LAYERSCOPE_DATA") else "builtin"
MADE = Path(os.environ.get("LAYERSCOPE_MADE") or cache_root() / "analyses" / DATA)
KEPT = Path(os.environ.get("LAYERSCOPE_KEPT") or Path(__file__).parent / "results" / DATA)

_APART = 0.11  # inches between matrices


def result_path(name: str) -> Path:
    """Return the path of a file that `results.mk` made."""
    path = MADE / name
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: make it with `make analyses`")
    return path


def sink_writer() -> int:
    """Return the block that writes the sink: the block with the largest increase of the states' maximum."""
    with xr.open_dataset(result_path("smollm2.nc"), engine="h5netcdf") as states:
        return int(np.diff(states.max_abs.values).argmax())


def keep(figure, name: str):
    """Save a figure as PDF and PNG, and return it for display."""
    KEPT.mkdir(parents=True, exist_ok=True)
    for suffix in (".pdf", ".png"):
        ls.figures.save(figure, KEPT / (name + suffix))
    return figure


def keep_table(table: pd.DataFrame, name: str, digits: int = 4) -> pd.DataFrame:
    """Save a table as .csv with `digits` significant digits, and return it for display."""
    KEPT.mkdir(parents=True, exist_ok=True)
    table.to_csv(KEPT / f"{name}.csv", float_format=f"%.{digits}g", lineterminator="\n")
    return table


def model_name(name: str) -> str:
    """Return the name of a model in figures: without the quantization, or its depth.

    >>> model_name("SmolLM2-135M-Instruct.Q4_1"), model_name("depth-06")
    ('SmolLM2-135M-Instruct', '6 blocks')
    """
    depth = re.fullmatch(r"depth-(\d+)", name)
    return f"{int(depth[1])} blocks" if depth else name.split(".")[0]


def as_called(sweep: xr.Dataset) -> xr.Dataset:
    """Return a sweep with the benchmarks' names as task names, for figures."""
    return sweep.assign_coords(task=[str(task).replace(":local_", ":") for task in sweep.task.values])


class Findings:
    """Named numbers of a notebook with their intervals; `docs/findings.md` quotes them."""

    def __init__(self, notebook: str) -> None:
        self._notebook, self._rows = notebook, {}

    def add(self, name: str, value: float, low: float = float("nan"), high: float = float("nan")) -> str:
        """Save a number, and return its text for a sentence."""
        number = {"value": float(value), "low": float(low), "high": float(high)}
        self._rows[name] = number
        table = pd.DataFrame.from_dict(self._rows, orient="index").rename_axis("finding")
        # More digits than the text shows, because rounding twice is wrong.
        keep_table(table, f"{self._notebook}-findings", digits=8)
        return written(**number)


def written(value: float, low: float = float("nan"), high: float = float("nan")) -> str:
    """Return a number with its interval as text: three digits, more where the ends would look equal.

    >>> written(3), written(0.5), written(26597.3), written(9, 9, 11), written(0.983, 0.982, 0.984)
    ('3', '0.50', '26,600', '9 [9, 11]', '0.983 [0.982, 0.984]')
    """
    if low != low:
        return _digits(value, 3) if value % 1 else f"{value:,.0f}"
    if not any(number % 1 for number in (value, low, high)):
        return f"{value:,.0f} [{low:,.0f}, {high:,.0f}]"
    digits = next((some for some in (3, 4, 5) if _digits(low, some) != _digits(high, some)), 3)
    return f"{_digits(value, digits)} [{_digits(low, digits)}, {_digits(high, digits)}]"


def _digits(value: float, digits: int) -> str:
    if not math.isfinite(value):
        return str(value)
    before = len(str(int(abs(value))))
    rounded = round(value, digits - before)
    return f"{rounded + 0.0:,.{max(digits - before, 0)}f}"


def display_text(*sentences: str) -> None:
    """Display sentences."""
    display(Markdown(" ".join(sentences)))


@contextmanager
def panels(
    titles: Sequence[str] = ("",), key: Sequence[Line2D | Patch] = (), width: str = "single", height: float = 0.62
) -> Iterator[tuple[Figure, list[Axes]]]:
    """Make a row of axes with a legend above, in the style of `ls.figures`.

    `height` is the ratio of height to width.
    """
    with applied():
        grid = make_grid(inches(width), titles, [key], height=height, shared=False)
        yield grid.figure, grid.places


@styled
def matrices(rows: dict[str, list[xr.DataArray]], titles: list[str], below: str = "state") -> tuple[Figure, list[Axes]]:
    """Draw similarity matrices in rows as wide as a page, on one scale; return the figure and the axes in row order."""
    side = (5.75 - _APART * (len(titles) - 1)) / len(titles)
    tall = len(rows) * (side + _APART) - _APART
    scale = scale_of([matrix for some in rows.values() for matrix in some])
    figure, places = Figure(figsize=(inches("double"), tall + 0.6)), []
    for row, (name, some) in enumerate(rows.items()):
        last = row == len(rows) - 1
        for column, matrix in enumerate(some):
            axes = place_axes(figure, 0.42 + column * (side + _APART), 0.2 + row * (side + _APART), side, side)
            draw_cells(axes, matrix, scale)
            axes.set_title("" if row else titles[column], loc="left", pad=3)
            axes.tick_params(labelleft=column == 0, labelbottom=last)
            axes.set(xlabel=below if last else "", ylabel="" if column else f"{name}: state")
            places.append(axes)
    draw_colour_bar(figure, place_axes(figure, 6.3, 0.2, 0.08, tall), scale, "similarity", "vertical")
    return figure, places
