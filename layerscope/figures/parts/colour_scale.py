"""Colour scale of one or more matrices."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from layerscope.errors import UsageError
from layerscope.figures.parts.figure import axes_size
from layerscope.figures.parts.style import LINE, TEXT, colours
from layerscope.segmentation.analysis_matrices import value_range
from layerscope.segmentation.similarity import is_distance

__all__ = ["Scale", "draw_colour_bar", "scale_of"]

_CLEARLY_NEGATIVE = -0.05
_GRAIN = 0.25  # negative ends are rounded down to multiples of it
_ARROW = 0.07  # inches


@dataclass(frozen=True)
class Scale:
    """Colour scale of one or more matrices.

    Attributes
    ----------
    low, high
        Values at its ends.
    distance
        Whether low values are bright.
    beyond
        Ends of the colour bar that get an arrow because values are outside: ``neither``, ``min``, ``max`` or ``both``.
    """

    low: float
    high: float
    distance: bool
    beyond: str

    def norm(self) -> Normalize:
        """Return the matplotlib norm."""
        return Normalize(self.low, self.high)


def scale_of(matrices: Sequence[xr.DataArray], low: float | None = None, high: float | None = None) -> Scale:
    """Choose one colour scale for some matrices.

    Its ends are those of the ``range`` that the measures declare, so figures of one measure can be compared. There are two
    exceptions. A range with a negative end starts at 0 if no value is clearly negative, and otherwise at the smallest value,
    rounded down to a quarter. An infinite end becomes the outermost value. Values within -1 … 1 without a range are
    treated as cosines.

    Raises
    ------
    UsageError
        `low` is not below `high`.

    Examples
    --------
    >>> cosine = xr.DataArray([[1.0, 0.3], [0.3, 1.0]], attrs={"range": "[-1, 1]"})
    >>> scale_of([cosine])
    Scale(low=0.0, high=1.0, distance=False, beyond='neither')
    >>> scale_of([cosine - 0.6]).low
    -0.5
    """
    values = np.concatenate([np.asarray(matrix, dtype=np.float64).ravel() for matrix in matrices])
    values = values[np.isfinite(values)]
    least, most = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    declared = [ends for matrix in matrices if (ends := value_range(matrix.attrs)) is not None]
    bottom = min((ends[0] for ends in declared), default=-np.inf)
    top = max((ends[1] for ends in declared), default=np.inf)
    if not declared and least >= -1 and most <= 1:
        bottom, top = -1.0, 1.0
    if bottom < 0:
        bottom = 0.0 if least >= _CLEARLY_NEGATIVE and top <= 1 else max(bottom, np.floor(least / _GRAIN) * _GRAIN)
    bottom = float(bottom) if low is None else low
    top = (float(top) if np.isfinite(top) else most) if high is None else high
    if low is None and high is None and bottom >= top:
        top = bottom + 1.0
    if not bottom < top:
        raise UsageError(f"the colour scale runs from {bottom:g} to {top:g}: its low end must be below its high end")
    # A rounding error, such as a cosine of 1 + 1e-16, is inside the scale.
    slack = 1e-6 * (top - bottom)
    under, over = least < bottom - slack, most > top + slack
    beyond = "both" if under and over else "min" if under else "max" if over else "neither"
    return Scale(bottom, top, any(is_distance(matrix) for matrix in matrices), beyond)


def draw_colour_bar(
    figure: Figure, axes: Axes, scale: Scale, name: str, orientation: Literal["horizontal", "vertical"] = "horizontal"
) -> None:
    """Draw the colour bar of a scale into axes, and name it."""
    mappable = ScalarMappable(scale.norm(), colours(scale.distance))
    width, height = axes_size(axes)
    length, apart = (width, 0.3) if orientation == "horizontal" else (height, 0.2)
    bar = figure.colorbar(mappable, cax=axes, orientation=orientation, extend=scale.beyond, extendfrac=_ARROW / length)
    bar.locator = MaxNLocator(nbins=max(2, min(8, int(length / apart))), steps=[1, 2, 5, 10])
    bar.set_label(name, size=TEXT)
    bar.outline.set_linewidth(LINE)
    if bar.solids is not None:
        # The default is an image, with seams between its colours.
        bar.solids.set(rasterized=False, edgecolor="face")
