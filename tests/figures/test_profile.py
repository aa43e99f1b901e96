import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import PolyCollection
from matplotlib.patches import Rectangle

from layerscope import figures
from layerscope.errors import UsageError
from layerscope.segmentation.segmentation import segment
from tests.figures.drawing import assert_readable, statistics
from tests.segmentation.matrices import planted


def titled(figure):
    return {axes.get_title(loc="left").replace("\n", " "): axes for axes in figure.axes}


@pytest.mark.parametrize(
    ("sizes", "width"), [([1, 5, 1], "double"), ([3, 27, 1], "single"), ([5, 74, 2], 2.5), ([1] * 8, "single")]
)
def test_words_never_overlap_nor_leave_the_figure(sizes, width):
    found = segment(planted(sizes), len(sizes))
    assert_readable(figures.profile(statistics(sum(sizes)), found, width=width))


def test_long_names_are_broken():
    result = statistics(31)
    for name in ("norm", "variance"):
        result[name].attrs["long_name"] = "mean over features of the variance over all tokens"
    assert_readable(figures.profile(result, width="single"))


def test_statistics_stand_in_a_fixed_order_with_unknown_ones_last():
    result = statistics(9).assign(something=("layer", np.ones(9)), layer_names=("layer", np.array(["a"] * 9)))
    assert list(titled(figures.profile(result))) == [
        "norm",
        "max abs",
        "variance",
        "participation ratio",
        "effective rank",
        "block influence",
        "something",
    ]


def test_lines_and_bands_show_values_and_intervals():
    result = statistics(9)
    axes = titled(figures.profile(result))["effective rank"]
    (line,) = axes.get_lines()
    np.testing.assert_array_equal(line.get_xdata(), np.arange(9))
    np.testing.assert_array_equal(line.get_ydata(), result["effective_rank"])
    (band,) = axes.findobj(PolyCollection)
    edges = band.get_paths()[0].vertices[:, 1]
    assert edges.min() == pytest.approx(float(result["effective_rank_low"].min()))
    assert edges.max() == pytest.approx(float(result["effective_rank_high"].max()))
    without = titled(figures.profile(statistics(9, intervals=False)))["effective rank"]
    assert without.findobj(PolyCollection) == []


def test_magnitudes_are_logarithmic_only_where_they_grow_tenfold():
    axes = titled(figures.profile(statistics(31)))
    assert {name: its.get_yscale() for name, its in axes.items()} == {
        "norm": "linear",
        "max abs": "log",
        "variance": "log",
        "participation ratio": "linear",
        "effective rank": "linear",
        "block influence": "linear",
    }


def test_a_magnitude_that_reaches_0_stays_linear():
    result = xr.Dataset({"norm": ("layer", [0.0, 1.0, 500.0])})
    assert figures.profile(result).axes[0].get_yscale() == "linear"


@pytest.mark.parametrize("values", [[np.nan, np.nan], [1.0, 1.0], [1e-7, 3e-7], [2e6, 9e6], [-3.0, 1.0], [0.97, 31.0]])
def test_odd_values_are_drawn_readably(values):
    result = xr.Dataset(dict.fromkeys(("variance", "drift"), ("layer", values)), coords={"layer": [0, 1]})
    assert_readable(figures.profile(result))


def test_segments_shade_every_second_one_half_way_between_layers():
    figure = figures.profile(statistics(20), segment(planted([3, 12, 5])))
    for axes in figure.axes:
        (band,) = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
        assert (band.get_x(), band.get_width()) == (2.5, 12.0)
        assert axes.get_xlim() == (-0.5, 19.5)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["middle (3–14)"]
    many = figures.profile(statistics(20), segment(planted([3, 7, 5, 5]), 4))
    assert [text.get_text() for text in many.legends[0].get_texts()] == ["segments 2, 4"]
    assert figures.profile(statistics(20), segment(planted([20]), 1)).legends == []


def test_two_captures_share_axes():
    result = xr.merge([statistics(31), statistics(7, "_other", "layer_other")])
    figure = figures.profile(result)
    axes = titled(figure)["norm"]
    assert [len(line.get_ydata()) for line in axes.get_lines()] == [31, 7]
    assert [line.get_linestyle() for line in axes.get_lines()] == ["-", "--"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["first capture", "second capture"]
    assert len(figure.axes) == 6
    assert_readable(figure)
    assert_readable(figures.profile(result, segment(planted([3, 27, 1])), width="single"))
    deeper = xr.merge([statistics(7), statistics(31, "_other", "layer_other")])
    assert figures.profile(deeper).axes[0].get_xlim()[1] > 30


def test_scattered_states_stand_at_their_numbers():
    result = statistics(6).assign_coords(layer=[0, 5, 6, 7, 8, 30])
    figure = figures.profile(result)
    np.testing.assert_array_equal(figure.axes[0].get_lines()[0].get_xdata(), [0, 5, 6, 7, 8, 30])
    assert_readable(figure)


def test_refusals():
    with pytest.raises(UsageError, match="the analysis holds no statistic over layers"):
        figures.profile(xr.Dataset({"cosine": (("layer", "layer_other"), np.eye(3))}))
    with pytest.raises(UsageError, match="the segments are of 4 layers, the statistics of 9"):
        figures.profile(statistics(9), segment(planted([2, 2]), 2))
