"""Texts that matplotlib cannot draw are refused by name, and panels without values say so."""

import re

import numpy as np
import pytest

from layerscope import figures
from layerscope.errors import UsageError
from layerscope.figures.data.layer_statistics import statistics_of
from tests.figures.drawing import assert_readable, cosines, labelled, statistics
from tests.figures.sweeps import specs, synthetic
from tests.figures.test_match import compared
from tests.figures.test_scaling import found
from tests.figures.test_training import trained
from tests.segmentation.matrices import planted

BAD = r"$\frac{$"


@pytest.mark.parametrize(
    ("make", "place"),
    [
        (lambda: figures.heatmap(np.eye(3), title=BAD), "title"),
        (lambda: figures.heatmap(labelled(planted([2, 3]), long_name=BAD)), "a text of similarity"),
        (lambda: figures.match(compared(5, 5, model=BAD)), "a text of result"),
        (lambda: figures.tasks(synthetic(specs(8), tasks=[BAD, "a"], depth=8), "loss"), "a text of dataset"),
    ],
)
def test_invalid_mathtext_is_refused_with_the_name_of_its_argument(make, place):
    with pytest.raises(UsageError) as caught:
        make()
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{place}: '")
    assert first.endswith(f"{BAD!r}"[1:] + " is not valid mathtext: Expected \\frac{num}{den}")
    assert second == "write \\$ for a dollar sign that begins no formula"


def test_it_is_refused_where_a_figure_is_saved(tmp_path):
    figure = figures.heatmap(np.eye(3))
    figure.axes[0].set_xlabel(BAD)
    with pytest.raises(UsageError, match=re.escape(f"a text of figure: {BAD!r} is not valid mathtext")):
        figures.save(figure, tmp_path / "figure.pdf")
    assert list(tmp_path.iterdir()) == []


def test_valid_mathtext_and_single_dollars_are_drawn():
    for title in (r"$R^2$", "5 $", r"\$5 and \$6", r"$\frac{1}{2}$"):
        assert_readable(figures.heatmap(planted([2, 3]), title=title))


def without_values(result, name):
    return result.assign({name: result[name] * np.nan})


def cut(figure, places):
    return [any(text.get_text() == "no values" for text in axes.texts) for axes in figure.axes[:places]]


def test_a_panel_without_values_says_so_in_every_kind():
    assert cut(figures.heatmap(np.full((3, 3), np.nan)), 1) == [True]
    assert cut(figures.heatmap(np.eye(3)), 1) == [False]
    four = without_values(cosines([3, 8, 2]), "cosine")
    assert cut(figures.panel(four), 4) == [False, True, False, False]
    layers = without_values(statistics(9, intervals=False), "norm")
    assert cut(figures.profile(layers), 6) == [name == "norm" for name in statistics_of(layers)]
    assert cut(figures.training(without_values(trained(4, 3), "cka_to_previous")), 2) == [False, True]
    sweep = synthetic(specs(8, seeds=1), tasks=["builtin:cloze", "builtin:order"], depth=8)
    sweep["drift_cosine"][1] = np.nan
    assert cut(figures.drift(sweep), 2) == [False, True]
    scaling = found()
    scaling["similarity"][1] = np.nan
    assert cut(figures.scaling(scaling), 3) == [False, True, False]


def test_the_words_are_readable():
    assert_readable(figures.heatmap(labelled(np.full((5, 5), np.nan))))
