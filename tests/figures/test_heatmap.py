import itertools
import re

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure as MatplotlibFigure
from matplotlib.patches import Rectangle
from sklearn.isotonic import isotonic_regression

from layerscope import figures
from layerscope.errors import UsageError
from layerscope.figures.kinds.heatmap import heatmap_of_analysis
from layerscope.figures.parts.colour_scale import scale_of
from layerscope.figures.parts.figure import Figure
from layerscope.figures.parts.matrix import tick_positions
from layerscope.figures.parts.segments import spread
from layerscope.segmentation.segmentation import segment
from tests.figures.drawing import assert_readable, between_two, drawn, labelled, words
from tests.segmentation.matrices import planted, published


def cells_of(figure):
    (cells,) = figure.axes[0].findobj(PolyCollection)
    return cells


def test_cells_show_the_matrix_with_layer_0_at_the_top_left():
    matrix = planted([2, 3], noise=0.1)
    figure = figures.heatmap(labelled(matrix))
    cells = cells_of(figure)
    np.testing.assert_array_equal(cells.get_array(), matrix.ravel())
    corners = np.array([path.vertices[0] for path in cells.get_paths()])
    expected = [(column - 0.5, row - 0.5) for row in range(5) for column in range(5)]
    np.testing.assert_allclose(corners, expected)
    axes = figure.axes[0]
    assert axes.get_xlim() == (-0.5, 4.5)
    assert axes.get_ylim() == (4.5, -0.5)


def test_each_pixel_has_the_colour_of_its_cell():
    matrix = planted([2, 1, 3], noise=0.2)
    figure = figures.heatmap(labelled(matrix))
    drawn(figure)
    picture = np.asarray(figure.canvas.buffer_rgba())
    axes = figure.axes[0]
    cells = cells_of(figure)
    for row in range(6):
        for column in range(6):
            across, down = axes.transData.transform((column, row))
            seen = picture[picture.shape[0] - 1 - round(down), round(across)]
            expected = np.round(255 * np.array(cells.cmap(cells.norm(matrix[row, column]))))
            assert np.abs(seen - expected).max() <= 1


@pytest.mark.parametrize(("width", "expected"), [("single", 3.33), ("double", 6.9), (5.0, 5.0)])
def test_width_is_as_asked_and_cells_are_square(width, expected):
    figure = figures.heatmap(labelled(planted([2, 3])), width=width)
    assert figure.get_figwidth() == expected
    drawn(figure)
    box = figure.axes[0].get_window_extent()
    assert box.width == pytest.approx(box.height, rel=1e-6)


@pytest.mark.parametrize("width", ["single", "double", 2.5])
@pytest.mark.parametrize("sizes", [[1, 5, 1], [2, 29, 2], [5, 74, 2], [1] * 8, [1, 1, 1, 1, 29]])
def test_words_never_overlap_nor_leave_the_figure(sizes, width):
    matrix = labelled(planted(sizes))
    figure = figures.heatmap(matrix, segment(matrix, len(sizes)), width=width, title="a model")
    assert_readable(figure)


def test_long_names_and_many_short_segments_are_readable():
    name = "a rather long name of a measure (with an estimator and a reference, 2024), debiased"
    matrix = labelled(planted([1] * 7 + [74]), long_name=name)
    figure = figures.heatmap(matrix, segment(matrix, 8))
    assert_readable(figure)
    assert figure.axes[1].get_xlabel().replace("\n", " ") == name


def test_axes_and_colour_bar_are_named():
    figure = figures.heatmap(labelled(planted([2, 3])), title="a title")
    axes, bar = figure.axes
    assert axes.get_ylabel() == axes.get_xlabel() == "layer (0 = embedding)"
    assert bar.get_xlabel() == "mean cosine over tokens"
    assert axes.get_title() == "a title"


def test_without_state_0_nothing_is_said_of_it():
    axes = figures.heatmap(labelled(planted([2, 3]), layers=[4, 5, 6, 7, 8])).axes[0]
    assert axes.get_ylabel() == axes.get_xlabel() == "layer"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["4", "5", "6", "7", "8"]


def test_a_plain_array_is_drawn_too():
    figure = figures.heatmap(planted([2, 3]))
    assert figure.axes[1].get_xlabel() == "similarity"


def test_segments_are_framed_and_named_with_their_states():
    matrix = labelled(published())
    figure = figures.heatmap(matrix, segment(matrix))
    boxes = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    assert [(box.get_x(), box.get_y(), box.get_width(), box.get_height()) for box in boxes] == [
        (-0.5, -0.5, 2, 2),
        (1.5, 1.5, 29, 29),
        (30.5, 30.5, 2, 2),
    ]
    names = [text.get_text() for text in figure.axes[0].texts]
    assert names == ["beginning (0–1)", "middle (2–30)", "ending (31–32)"]


def test_segment_names_use_state_numbers_where_some_states_are_missing():
    matrix = labelled(planted([1, 3, 2]), layers=[0, 5, 6, 7, 8, 20])
    names = [text.get_text() for text in figures.heatmap(matrix, segment(matrix)).axes[0].texts]
    assert names == ["beginning (0)", "middle (5–7)", "ending (8–20)"]


def test_brackets_span_their_rows():
    matrix = labelled(planted([4, 10, 6]))
    lines = figures.heatmap(matrix, segment(matrix)).axes[0].get_lines()
    spans = [(min(line.get_ydata()), max(line.get_ydata())) for line in lines if len(line.get_ydata()) == 4]
    for (top, bottom), (first, stop) in zip(spans, [(0, 4), (4, 14), (14, 20)], strict=True):
        assert first - 0.5 < top < first
        assert stop - 1 < bottom < stop - 0.5


@pytest.mark.parametrize("shape", [(25, 41), (7, 31), (31, 7), (81, 25), (2, 2)])
def test_two_captures_are_drawn_row_by_column(shape):
    figure = figures.heatmap(between_two(*shape))
    assert_readable(figure)
    assert figure.get_figheight() < 2 * figure.get_figwidth()
    assert len(cells_of(figure).get_paths()) == shape[0] * shape[1]


def test_two_captures_are_told_apart():
    axes = figures.heatmap(between_two(31, 25), width="double").axes[0]
    assert axes.get_ylabel() == "layer of the first capture (0 = embedding)"
    assert axes.get_xlabel() == "layer of the second capture (0 = embedding)"
    # As many layers in both, but not symmetric.
    assert "second" in figures.heatmap(between_two(31, 31), width="double").axes[0].get_xlabel()


def test_one_capture_by_a_measure_that_is_not_symmetric_is_one_capture():
    matrix = between_two(9, 9).rename("linear_r2")
    assert "second" in figures.heatmap(matrix, width="double").axes[0].get_xlabel()
    np.fill_diagonal(matrix.values, 1.0)
    assert figures.heatmap(matrix, width="double").axes[0].get_xlabel() == "layer (0 = embedding)"


def test_a_distance_is_drawn_bright_where_layers_are_alike():
    distance = labelled(2.0 - 2.0 * planted([2, 3], within=1.0), "procrustes", "Procrustes distance", "[0, 2]")
    similarity = labelled(planted([2, 3], within=1.0))
    far, near = cells_of(figures.heatmap(distance)), cells_of(figures.heatmap(similarity))
    assert far.cmap(far.norm(0.0)) == near.cmap(near.norm(1.0))
    distance[0, 1] = distance[1, 0] = np.nan
    assert scale_of([distance]).distance


def test_a_distance_between_two_captures_is_bright_where_layers_are_alike():
    distance = between_two(5, 7).rename("procrustes").assign_attrs(range="[0, 2]")
    cells = cells_of(figures.heatmap(distance))
    assert cells.cmap(cells.norm(0.0)) == cells_of(figures.heatmap(planted([2, 3]))).cmap(1.0)
    assert scale_of([distance]).distance


def test_missing_values_are_grey():
    matrix = planted([2, 3])
    matrix[0, 1] = matrix[1, 0] = np.nan
    cells = cells_of(figures.heatmap(labelled(matrix)))
    drawn(cells.get_figure())
    assert cells.get_facecolors()[1][:3].tolist() == pytest.approx([0xBF / 255] * 3)
    assert cells_of(figures.heatmap(labelled(np.full((3, 3), np.nan)))).get_array().mask.all()


def test_own_axes_are_drawn_into_and_their_figure_returned():
    figure = MatplotlibFigure(figsize=(7, 3))
    first, second = figure.subplots(1, 2)
    matrix = labelled(planted([2, 4, 2]))
    assert figures.heatmap(matrix, segment(matrix), axes=first) is figure
    assert figures.heatmap(matrix, axes=second) is figure
    assert len(figure.axes) == 2
    assert len(first.texts) == 3


@pytest.mark.parametrize(
    ("values", "ends", "expected"),
    [
        ([0.1, 0.9], "[-1, 1]", (0.0, 1.0, "neither")),
        ([-0.03, 0.9], "[-1, 1]", (0.0, 1.0, "min")),
        ([-0.3, 0.9], "[-1, 1]", (-0.5, 1.0, "neither")),
        ([-0.98, 0.9], "[-1, 1]", (-1.0, 1.0, "neither")),
        ([-0.3, 0.9], "(-inf, 1]", (-0.5, 1.0, "neither")),
        ([0.2, 0.5], "[0, 2]", (0.0, 2.0, "neither")),
        ([0.2, 3.5], "[0, inf)", (0.0, 3.5, "neither")),
        ([0.2, 1.0 + 1e-9], "[0, 1]", (0.0, 1.0, "neither")),
        ([0.2, 1.2], "[0, 1]", (0.0, 1.0, "max")),
    ],
)
def test_scale_follows_the_declared_range(values, ends, expected):
    scale = scale_of([xr.DataArray(values, attrs={"range": ends})])
    assert (scale.low, scale.high, scale.beyond) == expected


def test_scale_without_a_range_is_a_cosines_or_that_of_the_values():
    for values, ends in (
        ([0.25, 0.75], (0.0, 1.0)),
        ([0.3, 7.0], (0.25, 7.0)),
        ([0.0, 0.0], (0.0, 1.0)),
        ([3.0, 3.0], (3.0, 4.0)),
    ):
        scale = scale_of([xr.DataArray(values)])
        assert (scale.low, scale.high, scale.beyond) == (*ends, "neither")


def test_scale_can_be_set():
    scale = scale_of([xr.DataArray([0.2, 0.95])], low=0.5, high=0.9)
    assert (scale.low, scale.high, scale.beyond) == (0.5, 0.9, "both")
    with pytest.raises(UsageError, match=r"the colour scale runs from 1 to 0\.5"):
        scale_of([xr.DataArray([0.2])], low=1.0, high=0.5)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 40), st.integers(1, 300), st.integers(2, 14))
def test_ticks_are_few_evenly_spaced_and_round(first, count, most):
    numbers = np.arange(first, first + count)
    places = tick_positions(numbers, most)
    assert 1 <= len(places) <= most
    assert places[0] >= 0
    assert places[-1] < count
    steps = set(np.diff(places).tolist())
    assert len(steps) <= 1
    if count > most and steps:
        assert numbers[places[0]] % steps.pop() == 0


def test_ticks_of_common_depths_end_on_the_last_layer():
    for states in (7, 13, 19, 25, 29, 31, 33, 41, 49, 81):
        places = tick_positions(np.arange(states), 9)
        assert places[-1] == states - 1
        assert len(places) >= 5


def test_ticks_of_scattered_states_are_within_them():
    numbers = np.array([0, *range(5, 40, 3)])
    assert tick_positions(numbers, 5) == [0, 3, 6, 9, 12]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 50), min_size=1, max_size=8), st.floats(0.1, 5.0))
def test_names_are_moved_apart_as_little_as_possible(middles, gap):
    middles = sorted(middles)
    offsets = gap * np.arange(len(middles))
    # The same problem is an isotonic regression with bounds.
    last = max(50.0, offsets[-1])
    expected = isotonic_regression(np.array(middles) - offsets, y_min=0.0, y_max=last - offsets[-1]) + offsets
    places = spread(middles, gap, 0.0, last)
    assert places == pytest.approx(expected, abs=1e-6)
    assert places[0] >= 0.0
    assert places[-1] <= last + 1e-9
    assert all(later - earlier >= gap - 1e-9 for earlier, later in itertools.pairwise(places))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"similarity": np.ones(3)}, "a heatmap needs a matrix over pairs of layers, got an array of shape (3,)"),
        ({"similarity": np.ones((0, 0))}, "got an array of shape (0, 0)"),
        ({"similarity": np.eye(3), "width": "triple"}, "width is 'triple', expected single, double or a number"),
        ({"similarity": np.eye(3), "width": 1.0}, "width is 1 inches, expected 2.5 to 40"),
        ({"similarity": np.eye(3), "segments": segment(np.eye(4))}, "the segments are of 4 layers, the matrix of 3"),
        ({"similarity": np.ones((3, 4)), "segments": segment(np.eye(3))}, "the matrix compares two captures"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        figures.heatmap(**arguments)


def test_the_figure_is_ours_and_shows_itself():
    figure = figures.heatmap(planted([2, 3]))
    assert isinstance(figure, Figure)
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert words(figure)


def test_an_analysis_without_a_cosine_is_drawn_by_its_first_measure():
    cka = labelled(planted([2, 3]), long_name="debiased CKA")
    figure = heatmap_of_analysis(xr.Dataset({"cka": cka, "shape_angle": 1 - cka}), width="single")
    assert figure.axes[1].get_xlabel() == "debiased CKA"
    assert [text.get_text() for text in figure.axes[0].texts], "the segments of this measure"
