"""Mark panels that have nothing to show."""

import numpy as np
from matplotlib.axes import Axes

from layerscope.figures.parts.style import TEXT

__all__ = ["mark_missing"]


def mark_missing(axes: Axes, *values: np.ndarray) -> None:
    """Write "no values" into axes where every value is NaN, in all kinds of figures alike.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> axes = Figure().subplots()
    >>> mark_missing(axes, np.array([np.nan, 1.0]))
    >>> mark_missing(axes, np.array([np.nan, np.nan]))
    >>> [text.get_text() for text in axes.texts]
    ['no values']
    """
    if not any(np.isfinite(array).any() for array in values):
        axes.text(0.5, 0.5, "no values", transform=axes.transAxes, size=TEXT, ha="center", va="center")
