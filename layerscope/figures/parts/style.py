"""Sizes, fonts and colours of all figures.

A figure is made at the size in which a two-column page prints it, so 7 points stay 7 points. Its font ships with matplotlib, so
it looks the same on every machine. Fonts are embedded as TrueType (PDF) or kept as text (SVG), as journals require, and
the text stays searchable. Matrices use viridis, which is perceptually uniform, and lines the Okabe-Ito set. Both are safe for
colour-blind readers and for grey printing.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import matplotlib
import matplotlib.style
from matplotlib.figure import Figure

from layerscope.errors import UsageError
from layerscope.figures.parts.mathtext import check_texts

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
"""Inches of one column and of two."""

FONT = "DejaVu Sans"
"""Ships with matplotlib."""

TEXT = 7.0
"""Points: labels and titles."""
SMALL = 6.0
"""Points: numbers at ticks, the smallest text."""
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
    """Use matplotlib's defaults and LayerScope's settings within the block."""
    with matplotlib.style.context(["default", _SETTINGS]):
        yield


_Parameters = ParamSpec("_Parameters")
_Drawn = TypeVar("_Drawn")


def styled(draw: Callable[_Parameters, _Drawn]) -> Callable[_Parameters, _Drawn]:
    """Make a function draw in LayerScope's style under any settings of the user, and refuse texts that cannot be drawn."""
    signature = inspect.signature(draw)

    @wraps(draw)
    def drawing(*args: _Parameters.args, **options: _Parameters.kwargs) -> _Drawn:
        with applied():
            drawn = draw(*args, **options)
            if isinstance(drawn, Figure):
                check_texts(drawn, signature.bind(*args, **options).arguments)
            return drawn

    return drawing


def inches(width: str | float) -> float:
    """Return the width of a figure in inches, given as ``single``, ``double`` or a number.

    Raises
    ------
    UsageError
        It is none of these, or a figure of this width is unreadable.

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
        raise UsageError(f"width is {width:g} inches, expected 2.5 to 40: texts of narrower figures overlap")
    return float(width)


def colours(distance: bool) -> matplotlib.colors.Colormap:
    """Return the colour map of a matrix: similar layers are bright, for similarities and for distances."""
    return matplotlib.colormaps["viridis_r" if distance else "viridis"].with_extremes(bad=MISSING)
