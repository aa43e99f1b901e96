"""Analyses to draw and ways to look at what was drawn."""

import itertools

import numpy as np
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from tests.segmentation.matrices import planted

DIMS = ("layer", "layer_other")


def labelled(matrix, name="cosine", long_name="mean cosine over tokens", ends="[-1, 1]", layers=None):
    layers = np.arange(len(matrix)) if layers is None else np.array(layers)
    return xr.DataArray(
        matrix,
        dims=DIMS,
        coords={"layer": layers, "layer_other": layers},
        name=name,
        attrs={"long_name": long_name, "range": ends},
    )


def between_two(rows, columns):
    matrix = np.random.default_rng(0).uniform(0.0, 1.0, (rows, columns))
    return xr.DataArray(
        matrix,
        dims=DIMS,
        coords={"layer": np.arange(rows), "layer_other": np.arange(columns)},
        name="cka",
        attrs={"long_name": "linear CKA, debiased, minibatches", "range": "(-inf, 1]"},
    )


def cosines(sizes, excluded=0):
    names = ("cosine_sequence", "cosine", "cosine_sequence_without_first", "cosine_centered")
    result = xr.Dataset(
        {name: labelled(planted(sizes, 0.9 - 0.1 * index, 0.3), name) for index, name in enumerate(names)}
    )
    for name in names:
        result[name].attrs["excluded_first"] = excluded
    return result


def statistics(layers, suffix="", dimension="layer", intervals=True):
    depth = np.arange(layers)
    values = {
        "variance": 0.01 * np.exp(5 * depth / layers),
        "norm": 5.0 + depth,
        "max_abs": np.where(depth > 2, 1500.0, 3.0),
        "participation_ratio": 200.0 * np.exp(-depth / 5),
        "effective_rank": 400.0 - depth,
        "block_influence": np.r_[np.nan, np.full(layers - 1, 0.1)],
    }
    result = xr.Dataset(coords={dimension: depth})
    for name, value in values.items():
        result[f"{name}{suffix}"] = (dimension, value, {"long_name": name.replace("_", " ")})
        if intervals:
            result[f"{name}{suffix}_low"] = (dimension, 0.9 * value)
            result[f"{name}{suffix}_high"] = (dimension, 1.2 * value)
    return result


def drawn(figure):
    """Draw the figure; return its renderer."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas.get_renderer()


def words(figure):
    """Return every text that is seen, with its box in pixels and its size in points."""
    renderer = drawn(figure)
    ticks = [tick for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for tick in all_ticks(axis)]
    of_ticks = {id(label) for tick in ticks for label in (tick.label1, tick.label2)}
    found = [artist for artist in figure.findobj(Text) if id(artist) not in of_ticks]
    found += [label for tick in ticks if in_view(tick) for label in (tick.label1, tick.label2)]
    return [
        (artist.get_text(), artist.get_window_extent(renderer), artist.get_fontsize())
        for artist in found
        if artist.get_visible() and artist.get_text().strip()
    ]


def all_ticks(axis):
    return [*axis.get_major_ticks(), *axis.get_minor_ticks()]


def in_view(tick):
    axis = tick.axes.xaxis if tick in all_ticks(tick.axes.xaxis) else tick.axes.yaxis
    low, high = sorted(axis.get_view_interval())
    return low - 1e-9 <= tick.get_loc() <= high + 1e-9


def assert_readable(figure):
    """Every word stands inside the figure, overlaps no other, and has at least 6 points."""
    found = words(figure)
    width, height = figure.canvas.get_width_height()
    assert len(found) >= 4
    for text, box, points in found:
        assert points >= 6.0, text
        assert box.x0 >= -0.5, text
        assert box.y0 >= -0.5, text
        assert box.x1 <= width + 0.5, (text, box, width)
        assert box.y1 <= height + 0.5, text
    for (text, box, _), (other, its_box, _) in itertools.combinations(found, 2):
        apart = box.x1 <= its_box.x0 or its_box.x1 <= box.x0 or box.y1 <= its_box.y0 or its_box.y1 <= box.y0
        assert apart, f"{text!r} overlaps {other!r}"
