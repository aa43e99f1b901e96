"""Draw segments on a heatmap: boxes on the diagonal, and brackets with names at the right."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Stroke

from layerscope.errors import UsageError
from layerscope.figures.parts.figure import text_width
from layerscope.figures.parts.style import GREY, LINE, SMALL
from layerscope.segmentation.segmentation import Segmentation

__all__ = ["check_segments", "draw_boxes", "draw_brackets", "names_width", "segment_names", "spread"]

_POINTS = 72.0
_LINE_HEIGHT = 1.3
_DISTANCES = (0.04, 0.08, 0.20)  # inches right of the axes: the bracket's ends, its back, the end of the line
_APART = 0.03  # inches between line and name


def check_segments(matrix: xr.DataArray, segments: Segmentation | None, two: bool) -> None:
    """Refuse segments of another matrix, and segments of a matrix between two captures."""
    if segments is None:
        return
    if two:
        raise UsageError("the matrix compares two captures and has no segments: omit them")
    if sum(segments.sizes) != len(matrix):
        raise UsageError(
            f"the segments are of {sum(segments.sizes)} layers, the matrix of {len(matrix)}: "
            "segment the matrix that is drawn"
        )


def draw_boxes(axes: Axes, segments: Segmentation) -> None:
    """Frame the block of each segment on the diagonal, in white with a dark edge, which is visible on any colour."""
    for start, size in zip(segments.starts, segments.sizes, strict=True):
        box = Rectangle((start - 0.5, start - 0.5), size, size, fill=False, edgecolor="white", linewidth=0.6)
        box.set_path_effects([Stroke(linewidth=1.3, foreground="black"), Stroke(linewidth=0.6, foreground="white")])
        box.set_joinstyle("miter")
        axes.add_patch(box)


def draw_brackets(axes: Axes, segments: Segmentation, numbers: np.ndarray, height: float) -> None:
    """Draw a bracket along the rows of each segment, with its name and its layers at the right.

    Names that would overlap, such as those of segments of one or two layers, are moved apart. A line connects each name with its
    bracket.

    Parameters
    ----------
    axes
        Axes of the heatmap.
    segments
        Segments to name.
    numbers
        State numbers of the rows.
    height
        Height of the axes in inches.
    """
    rows_an_inch = len(numbers) / height
    gap = SMALL * _LINE_HEIGHT / _POINTS * rows_an_inch
    middles = [start + (size - 1) / 2 for start, size in zip(segments.starts, segments.sizes, strict=True)]
    places = spread(middles, gap, (gap - 1) / 2, len(numbers) - (gap + 1) / 2)
    along = axes.get_yaxis_transform()
    # The axes are square: an inch is the same fraction of their width and of their height.
    near, bend, far = (1.0 + distance / height for distance in _DISTANCES)
    end = min(0.3, 0.012 * rows_an_inch)
    for name, start, size, middle, place in zip(
        segment_names(segments, numbers), segments.starts, segments.sizes, middles, places, strict=True
    ):
        top, bottom = start - 0.5 + end, start + size - 0.5 - end
        axes.plot(
            [near, bend, bend, near],
            [top, top, bottom, bottom],
            transform=along,
            color="black",
            linewidth=LINE,
            clip_on=False,
            solid_capstyle="butt",
        )
        axes.plot(
            [bend, far],
            [middle, place],
            transform=along,
            color=GREY,
            linewidth=LINE * 0.8,
            clip_on=False,
        )
        axes.text(
            far + _APART / height,
            place,
            name,
            transform=along,
            fontsize=SMALL,
            verticalalignment="center_baseline",
        )


def spread(middles: list[float], gap: float, first: float, last: float) -> list[float]:
    """Move positions apart by as little as possible until neighbours are at least `gap` apart.

    This is least squares under the given order: positions that collide form a group, centred on the mean of their wanted
    positions. All positions are at least `first` and, as long as there is room, at most `last`.

    Examples
    --------
    >>> spread([4.0, 5.0, 10.0], 3.0, 0.0, 20.0)
    [3.0, 6.0, 10.0]
    >>> spread([0.0, 1.0, 10.0], 3.0, 0.0, 20.0)
    [0.0, 3.0, 10.0]
    """
    groups: list[tuple[float, int]] = []  # wanted position of the first member, number of members
    for index, middle in enumerate(middles):
        wanted, members = middle - index * gap, 1
        while groups and groups[-1][0] >= wanted:
            mean, others = groups.pop()
            wanted = (mean * others + wanted * members) / (others + members)
            members += others
        groups.append((wanted, members))
    latest = last - (len(middles) - 1) * gap
    origins = [max(first, min(wanted, latest)) for wanted, members in groups for _ in range(members)]
    return [origin + index * gap for index, origin in enumerate(origins)]


def names_width(segments: Segmentation, numbers: np.ndarray) -> float:
    """Return the width in inches of brackets and names."""
    widest = max(text_width(name, SMALL) for name in segment_names(segments, numbers))
    return _DISTANCES[-1] + _APART + widest


def segment_names(segments: Segmentation, numbers: np.ndarray) -> list[str]:
    """Return the label and the states of each segment.

    Examples
    --------
    >>> segments = Segmentation("", (2, 6), (2, 4, 1), ("beginning", "middle", "ending"), 0.7, None)
    >>> segment_names(segments, np.arange(7))
    ['beginning (0–1)', 'middle (2–5)', 'ending (6)']
    """
    names = []
    for label, start, size in zip(segments.labels, segments.starts, segments.sizes, strict=True):
        first, last = numbers[start], numbers[start + size - 1]
        names.append(
            f"{label.replace('_', ' ')} ({first})" if size == 1 else f"{label.replace('_', ' ')} ({first}–{last})"
        )
    return names
