"""Figure that all kinds return, and axes placed on it in inches.

It does not use pyplot: no window opens, no backend is selected, and no global state keeps figures alive.
"""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as MatplotlibFigure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from layerscope.errors import UsageError
from layerscope.figures.parts.style import FONT, TEXT, applied

__all__ = ["Figure", "axes_size", "figure_of", "longest_fitting", "place_axes", "text_width", "wrapped"]

_NOTEBOOK_DPI = 200
_OVERHANG = 0.1  # inches by which the name of an axis may exceed the axis


class Figure(MatplotlibFigure):
    """Matplotlib figure that draws and saves itself in LayerScope's style and displays itself in a notebook.

    All of `matplotlib.figure.Figure` works: add to the axes, change labels, ``savefig``.
    """

    def draw(self, renderer: Any) -> None:
        """Draw in LayerScope's style, which ticks, for example, read only now."""
        with applied():
            super().draw(renderer)

    def savefig(self, fname: Any, **options: Any) -> None:
        """Save in LayerScope's style, with embedded fonts; options as in matplotlib."""
        with applied():
            super().savefig(fname, **options)

    def _repr_png_(self) -> bytes:
        picture = BytesIO()
        self.savefig(picture, format="png", dpi=_NOTEBOOK_DPI)
        return picture.getvalue()


def place_axes(figure: MatplotlibFigure, left: float, top: float, width: float, height: float) -> Axes:
    """Add axes at a position in inches from the top left corner of the figure."""
    across, down = figure.get_size_inches()
    return figure.add_axes((left / across, 1.0 - (top + height) / down, width / across, height / down))


def axes_size(axes: Axes) -> tuple[float, float]:
    """Return the current width and height of axes in inches."""
    place, (across, down) = axes.get_position(), figure_of(axes).get_size_inches()
    return float(place.width * across), float(place.height * down)


def figure_of(axes: Axes) -> MatplotlibFigure:
    """Return the figure of axes; of nested figures the outermost.

    Raises
    ------
    UsageError
        They were removed from their figure.
    """
    figure = axes.get_figure(root=True)
    if figure is None:
        raise UsageError("the axes belong to no figure: give axes that do")
    return figure


def text_width(text: str, points: float) -> float:
    """Return the width in inches of a line of text."""
    width, _, _ = text_to_path.get_text_width_height_descent(
        text, FontProperties(family=FONT, size=points), ismath=False
    )
    return float(width) / 72.0


def wrapped(text: str, points: float, room: float) -> list[str]:
    """Break a text into lines at most `room` inches wide; a longer word gets its own line.

    Examples
    --------
    >>> wrapped("cosine of whole sequences", 7.0, 0.6)
    ['cosine of', 'whole', 'sequences']
    """
    lines: list[str] = []
    for word in text.split():
        if lines and text_width(f"{lines[-1]} {word}", points) <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def longest_fitting(names: Sequence[str], room: float) -> str:
    """Return the first name that fits along `room` inches of axis, otherwise the last."""
    return next((name for name in names if text_width(name, TEXT) <= room + _OVERHANG), names[-1])
