"""Label lines at their right ends."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from layerscope.figures.parts.figure import axes_size, text_width
from layerscope.figures.parts.legend import SAMPLE, TEXT_LEFT
from layerscope.figures.parts.segments import spread
from layerscope.figures.parts.style import LINE, SMALL

__all__ = ["draw_end_labels", "end_labels_width"]

_GAP = 0.14  # inches between axes and samples
_ROW = 0.138  # inches from label to label
_SAME = 0.02  # inches: smaller differences of height are invisible


def end_labels_width(entries: Sequence[Line2D]) -> float:
    """Return the width in inches of labels at the ends of lines."""
    return _GAP + TEXT_LEFT + max(text_width(str(entry.get_label()), SMALL) for entry in entries)


def draw_end_labels(axes: Axes, entries: Sequence[Line2D], lines: Sequence[Float[np.ndarray, "_ 2"]]) -> None:
    """Label lines at the right of the axes, each as close to the end of its line as the others allow.

    A thin line connects each label with its line. Lines with the same end are labelled in the order in which they reach it. The
    limits of the axes must be final.

    Parameters
    ----------
    axes
        Axes of the lines.
    entries
        Legend entry of each line.
    lines
        Points of each line, from left to right; for a level, its right end.
    """
    width, height = axes_size(axes)
    to_axes = axes.transScale + axes.transLimits
    paths = [np.clip(to_axes.transform(points), 0.0, 1.0) for points in lines]
    longest = max(map(len, paths))
    # Backwards from the end, rounded to heights that the eye distinguishes.
    heights = np.stack([np.pad(path[::-1, 1], (0, longest - len(path)), "edge") for path in paths])
    order = np.lexsort(-np.round(heights * height / _SAME)[:, ::-1].T)
    places = spread([float((1.0 - heights[index, 0]) * height) for index in order], _ROW, 0.0, height)
    left = 1.0 + _GAP / width
    for index, place in zip(order, places, strict=True):
        entry, middle = entries[index], 1.0 - place / height
        across, up = paths[index][-1]
        # Level up to the edge of the axes: from there the ties are in the order of heights and do not cross.
        tie = Line2D(
            [across, 1.0, left], [up, up, middle], color=entry.get_color(), linewidth=LINE, alpha=0.5, zorder=1.2
        )
        sample = Line2D([left, left + SAMPLE / 2 / width, left + SAMPLE / width], [middle] * 3, markevery=[1])
        sample.update_from(entry)
        for line, words in ((tie, "tie to"), (sample, "end of")):
            line.set(transform=axes.transAxes, clip_on=False, label=f"_{words} {entry.get_label()}")
            axes.add_line(line)
        axes.text(
            left + TEXT_LEFT / width,
            middle,
            str(entry.get_label()),
            transform=axes.transAxes,
            fontsize=SMALL,
            verticalalignment="center_baseline",
        )
