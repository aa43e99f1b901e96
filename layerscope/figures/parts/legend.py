"""Draw a legend above a figure."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from layerscope.figures.parts.figure import text_width
from layerscope.figures.parts.style import SMALL

__all__ = ["SAMPLE", "TEXT_LEFT", "draw_legend", "legend_height"]

SAMPLE, TEXT_LEFT = 0.20, 0.27
"""Inches: width of a sample, and where its text begins."""

_AFTER = 0.16  # inches after a text
_ROW = 0.1275
_TOP, _BELOW = 0.06, 0.05
_POINTS = 72.0


def _columns(names: Sequence[str], room: float) -> int:
    """Return the number of columns that gives the fewest rows, as even as possible."""
    widths = [TEXT_LEFT + text_width(name, SMALL) + _AFTER for name in names]
    for columns in range(len(names), 1, -1):
        across = sum(max(widths[place::columns]) for place in range(columns)) - _AFTER
        if across <= room:
            return -(-len(names) // -(-len(names) // columns))
    return 1


def legend_height(groups: Sequence[Sequence[Line2D | Patch]], room: float) -> float:
    """Return the height in inches of a legend that is at most `room` inches wide."""
    rows = [-(-len(entries) // _columns(_names(entries), room)) for entries in groups if entries]
    return _TOP + _ROW * sum(rows) + _BELOW if rows else 0.0


def draw_legend(
    figure: Figure, groups: Sequence[Sequence[Line2D | Patch]], left: float, room: float, top: float = 0.0
) -> None:
    """Draw a legend `left` and `top` inches from the corner of a figure, row by row; each group begins a row."""
    across, down = figure.get_size_inches()
    em = SMALL / _POINTS
    top += _TOP
    for entries in groups:
        if not entries:
            continue
        columns = _columns(_names(entries), room)
        figure.legend(
            handles=[entry for place in range(columns) for entry in entries[place::columns]],
            loc="upper left",
            bbox_to_anchor=(left / across, 1.0 - top / down),
            ncols=columns,
            borderpad=0.0,
            borderaxespad=0.0,
            handlelength=SAMPLE / em,
            handletextpad=(TEXT_LEFT - SAMPLE) / em,
            columnspacing=_AFTER / em,
            labelspacing=0.45,
            handleheight=0.7,
        )
        top += _ROW * -(-len(entries) // columns)


def _names(entries: Sequence[Line2D | Patch]) -> list[str]:
    return [str(entry.get_label()) for entry in entries]
