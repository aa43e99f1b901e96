"""Sizes, fonts and colours of every figure, in one place.

Widths are those of a two-column page: a figure is made at the size it is printed in, so that 7 points stay 7 points.
The font comes with matplotlib, so a figure is the same on every machine. Fonts are embedded as TrueType (PDF) and kept
as text (SVG), which journals ask for and which keeps the words searchable. Colours are perceptually uniform for
matrices (viridis) and the Okabe-Ito set for lines: both are safe for colour-blind readers and survive grey printing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import matplotlib
import matplotlib.style

from layerscope.errors import UsageError

__all__ = [
    "BAND",
    "FIRST",
    "FONT",
    "GREY",
    "LINE",
    "MISSING",
    "SECOND",
    "SHADE",
    "SMALL",
    "TEXT",
    "WIDTHS",
    "applied",
    "colours",
    "inches",
    "styled",
]

WIDTHS = {"single": 3.33, "double": 6.9}
"""Inches: one column, and both."""

FONT = "DejaVu Sans"
"""It comes with matplotlib."""

TEXT = 7.0
"""Points: labels and titles."""
SMALL = 6.0
"""Points: numbers at ticks; nothing is smaller."""
LINE = 0.6
"""Points: axes, ticks and brackets."""

FIRST = "#0072B2"
SECOND = "#D55E00"
GREY = "#595959"
SHADE = "#ECECEC"
MISSING = "#BFBFBF"
BAND = 0.25
"""Opacity of an interval's band."""

_SETTINGS = {
    "font.family": FONT,
    "font.size": TEXT,
    "axes.labelsize": TEXT,
    "axes.titlesize": TEXT,
    "axes.linewidth": LINE,
    "axes.labelpad": 2.5,
    "axes.unicode_minus": True,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.major.width": LINE,
    "ytick.major.width": LINE,
    "xtick.major.size": 2.0,
    "ytick.major.size": 2.0,
    "xtick.minor.size": 1.2,
    "ytick.minor.size": 1.2,
    "xtick.major.pad": 2.0,
    "ytick.major.pad": 2.0,
    "lines.linewidth": 1.0,
    "lines.markersize": 2.0,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "layerscope",
    "savefig.dpi": 300.0,
    "savefig.facecolor": "white",
    "figure.facecolor": "white",
}


@contextmanager
def applied() -> Iterator[None]:
    """Set matplotlib's defaults and our settings over the user's, for the time of the block only."""
    with matplotlib.style.context(["default", _SETTINGS]):
        yield


_Parameters = ParamSpec("_Parameters")
_Drawn = TypeVar("_Drawn")


def styled(draw: Callable[_Parameters, _Drawn]) -> Callable[_Parameters, _Drawn]:
    """Make a function draw in LayerScope's style, whatever the user's own settings are."""

    @wraps(draw)
    def drawing(*args: _Parameters.args, **options: _Parameters.kwargs) -> _Drawn:
        with applied():
            return draw(*args, **options)

    return drawing


def inches(width: str | float) -> float:
    """Return a figure's width in inches: ``single``, ``double`` or a number.

    Raises
    ------
    UsageError
        It is none of these, or too narrow to hold a readable figure.

    Examples
    --------
    >>> inches("single"), inches(5.0)
    (3.33, 5.0)
    """
    if isinstance(width, str):
        if width not in WIDTHS:
            raise UsageError(f"width is {width!r}, expected single, double or a number of inches")
        return WIDTHS[width]
    if not 2.5 <= width <= 40.0:
        raise UsageError(f"width is {width:g} inches, expected 2.5 to 40: narrower, the words would overlap")
    return float(width)


def colours(distance: bool) -> matplotlib.colors.Colormap:
    """Return the colour scale for a matrix: bright is alike, dark unlike, for similarities and distances both."""
    return matplotlib.colormaps["viridis_r" if distance else "viridis"].with_extremes(bad=MISSING)
