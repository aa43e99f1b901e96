import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import PolyCollection
from matplotlib.patches import Rectangle

from layerscope import figures
from layerscope.errors import UsageError
from layerscope.segmentation.segmentation import segment
from tests.figures.drawing import assert_readable, between_two, cosines, words


def titles(figure):
    """Letter, name and remark of each matrix."""
    return [tuple(text.get_text() for text in axes.texts) for axes in figure.axes[:-1]]


@pytest.mark.parametrize(
    ("sizes", "width"),
    [([1, 5, 1], "single"), ([1, 5, 1], "double"), ([3, 27, 1], 2.5), ([3, 27, 1], 5.0), ([5, 74, 2], "single")],
)
def test_words_never_overlap_nor_leave_the_figure(sizes, width):
    result = cosines(sizes)
    assert_readable(figures.panel(result, segment(result["cosine"]), width=width))


def test_the_four_stand_in_the_order_of_the_argument():
    figure = figures.panel(cosines([3, 27, 1]))
    assert titles(figure) == [
        ("a", "whole sequence", "as in the paper"),
        ("b", "per token", "mean cosine"),
        ("c", "whole sequence", "first token left out"),
        ("d", "per token", "centred"),
    ]


def test_each_shows_its_own_matrix_on_one_shared_scale():
    result = cosines([3, 8, 2])
    result["cosine_centered"][0, 5] = result["cosine_centered"][5, 0] = -0.3
    figure = figures.panel(result)
    names = ("cosine_sequence", "cosine", "cosine_sequence_without_first", "cosine_centered")
    for axes, name in zip(figure.axes, names, strict=False):
        (cells,) = axes.findobj(PolyCollection)
        np.testing.assert_array_equal(cells.get_array(), result[name].values.ravel())
        assert (cells.norm.vmin, cells.norm.vmax) == (-0.5, 1.0)
    assert figure.axes[-1].get_ylim() == (-0.5, 1.0)
    assert figure.axes[-1].get_ylabel() == "cosine"


def test_layout_by_width():
    double, single = figures.panel(cosines([2, 5])), figures.panel(cosines([2, 5]), width="single")
    tops = [{round(axes.get_position().y1, 6) for axes in figure.axes[:4]} for figure in (double, single)]
    assert [len(rows) for rows in tops] == [1, 2]
    assert (double.get_figwidth(), single.get_figwidth()) == (6.9, 3.33)


def test_missing_matrices_are_left_out():
    figure = figures.panel(cosines([3, 8, 2])[["cosine_centered", "cosine_sequence"]])
    assert titles(figure) == [("a", "whole sequence", "as in the paper"), ("b", "per token", "centred")]
    assert_readable(figure)
    with pytest.raises(UsageError, match=r"the analysis holds none of cosine_sequence, cosine, .*--measures"):
        figures.panel(xr.Dataset({"cka": cosines([2, 2])["cosine"]}))


@pytest.mark.parametrize(("excluded", "remark"), [(1, "first token left out"), (4, "first 4 tokens left out")])
def test_an_analysis_without_first_tokens_is_not_called_the_papers(excluded, remark):
    figure = figures.panel(cosines([3, 8, 2], excluded))
    assert titles(figure)[0] == ("a", "whole sequence", remark)
    assert len(titles(figure)) == 3
    assert figure.axes[-1].get_ylabel() == f"cosine, {remark}"
    assert_readable(figure)
    assert_readable(figures.panel(cosines([3, 8, 2], excluded), width="single"))


def test_the_third_matrix_may_say_itself_that_it_leaves_the_first_token_out():
    result = cosines([3, 8, 2])
    result["cosine_sequence_without_first"].attrs["excluded_first"] = 1
    assert titles(figures.panel(result))[0] == ("a", "whole sequence", "as in the paper")


def test_segments_are_framed_in_each():
    result = cosines([3, 8, 2])
    figure = figures.panel(result, segment(result["cosine"]))
    for axes in figure.axes[:4]:
        assert [patch.get_width() for patch in axes.patches if isinstance(patch, Rectangle)] == [3, 8, 2]


def test_two_captures():
    matrix = between_two(31, 25)
    figure = figures.panel(xr.Dataset({"cosine": matrix, "cosine_centered": matrix}))
    assert_readable(figure)
    assert "second" in " ".join(text for text, _, _ in words(figure))
    with pytest.raises(UsageError, match="the matrix compares two captures"):
        figures.panel(xr.Dataset({"cosine": matrix}), segment(np.eye(31)))
