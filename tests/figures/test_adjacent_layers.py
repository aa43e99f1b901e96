"""Chance and reliability in figures: curves of neighbours in a profile, dots on a heatmap."""

import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import PathCollection, PolyCollection

from layerscope import figures
from layerscope.errors import UsageError
from layerscope.figures.data.adjacent_layers import with_adjacent_layers
from layerscope.segmentation.segmentation import segment
from layerscope.segmentation.similarity import within_chance
from tests.figures.drawing import assert_readable, labelled, statistics, words
from tests.segmentation.matrices import planted

DIMS = ("layer", "layer_other")


def analysis(sizes, statistic=True):
    """An analysis of one capture with everything that can stand beside a matrix."""
    value = planted(sizes, 0.9, 0.1, noise=0.05)
    result = statistics(sum(sizes)) if statistic else xr.Dataset(coords={"layer": np.arange(sum(sizes))})
    result["cka"] = labelled(value, "cka", "linear centred kernel alignment, debiased")
    for ending, values in {
        "low": value - 0.02,
        "high": value + 0.02,
        "null": np.full_like(value, 0.1),
        "null_low": np.full_like(value, 0.05),
        "null_high": np.full_like(value, 0.15),
        "ceiling": np.full_like(value, 0.95),
    }.items():
        result[f"cka_{ending}"] = (DIMS, values)
    return result


def test_a_curve_takes_each_layer_with_the_one_before():
    result = analysis([2, 3])
    curves = with_adjacent_layers(result)
    for name in ("cka", "cka_low", "cka_null", "cka_ceiling"):
        assert curves[name].dims == ("layer",)
        np.testing.assert_array_equal(curves[name][1:], np.diagonal(result[name].values, -1))
        assert np.isnan(curves[name][0])
    assert curves["cka"].attrs["long_name"] == (
        "linear centred kernel alignment, debiased, each layer with the one before"
    )


def test_between_two_captures_it_takes_the_layer_of_the_same_number():
    matrix = np.arange(12.0).reshape(3, 4)
    result = xr.Dataset(
        {"cka": (DIMS, matrix), "cka_null": (DIMS, matrix / 100)},
        {"layer": [0, 2, 5], "layer_other": [1, 2, 3, 5]},
        {"alignment": "tokens"},
    )
    curves = with_adjacent_layers(result)
    np.testing.assert_array_equal(curves["cka"], [np.nan, 5.0, 11.0])
    np.testing.assert_array_equal(curves["cka_null"], [np.nan, 0.05, 0.11])
    assert curves["cka"].attrs["long_name"] == "cka, the same layer of both captures"


def test_matrices_held_against_nothing_stay_matrices():
    result = analysis([2, 3]).drop_vars(["cka_null", "cka_ceiling"])
    assert with_adjacent_layers(result)["cka"].dims == DIMS


@pytest.mark.parametrize("width", ["single", "double"])
def test_a_profile_draws_value_interval_chance_and_ceiling(width):
    figure = figures.profile(analysis([3, 27, 1]), segment(planted([3, 27, 1])), width=width)
    assert_readable(figure)
    axes = figure.axes[-1]
    value, chance, ceiling = axes.get_lines()
    assert np.nanmax(value.get_ydata()) > 0.8
    assert set(np.asarray(chance.get_ydata())[1:]) == {0.1}
    assert set(np.asarray(ceiling.get_ydata())[1:]) == {0.95}
    assert (
        len(
            {line.get_linestyle() for line in (value, chance, ceiling)}
            | {str(chance._dash_pattern), str(ceiling._dash_pattern)}
        )
        > 2
    )
    assert len(axes.findobj(PolyCollection)) == 2
    seen = [text for text, _, _ in words(figure)]
    assert {"by chance", "split-half reliability", "middle (3–29)"} <= set(seen)


def test_without_chance_the_key_does_not_name_it():
    seen = [text for text, _, _ in words(figures.profile(statistics(9)))]
    assert "by chance" not in seen


def test_a_profile_of_a_matrix_alone():
    assert_readable(figures.profile(analysis([2, 3], statistic=False)))


def test_cells_within_chance():
    result = xr.Dataset(
        {
            "cka": (DIMS, [[1.0, 0.2], [0.3, 1.0]]),
            "cka_null_low": (DIMS, np.full((2, 2), 0.1)),
            "cka_null_high": (DIMS, np.full((2, 2), 0.25)),
            "procrustes": (DIMS, [[0.0, 1.2], [1.35, 0.0]]),
            "procrustes_null_low": (DIMS, np.full((2, 2), 1.3)),
            "procrustes_null_high": (DIMS, np.full((2, 2), 1.4)),
        }
    )
    np.testing.assert_array_equal(within_chance(result, "cka"), [[False, True], [False, False]])
    np.testing.assert_array_equal(within_chance(result, "procrustes"), [[False, False], [True, False]])
    assert within_chance(result.drop_vars(["cka_null_high"]), "cka") is None


def test_a_heatmap_dots_the_cells_that_say_no_more_than_chance():
    matrix = planted([2, 3])
    dotted = matrix < 0.5
    figure = figures.heatmap(labelled(matrix), by_chance=dotted)
    (dots,) = figure.axes[0].findobj(PathCollection)
    places = {(int(row), int(column)) for column, row in dots.get_offsets()}
    assert places == set(zip(*np.nonzero(dotted), strict=True))
    assert_readable(figure)
    assert any("dotted: no more alike" in text for text, _, _ in words(figure))


@pytest.mark.parametrize(("value", "colour"), [(0.05, 1.0), (0.99, 0.0)])
def test_dots_are_seen_on_any_colour(value, colour):
    matrix = np.full((3, 3), value)
    np.fill_diagonal(matrix, 1.0)
    figure = figures.heatmap(labelled(matrix), by_chance=~np.eye(3, dtype=bool))
    (dots,) = figure.axes[0].findobj(PathCollection)
    np.testing.assert_allclose(dots.get_facecolors()[:, 0], colour)


def test_without_dots_there_are_none():
    for by_chance in (None, np.zeros((5, 5), bool)):
        figure = figures.heatmap(labelled(planted([2, 3])), by_chance=by_chance)
        assert not any("dotted" in text for text, _, _ in words(figure))


def test_dots_of_another_matrix_are_refused():
    with pytest.raises(UsageError, match=r"by_chance is of shape \(2, 2\), expected that of the matrix, \(5, 5\)"):
        figures.heatmap(labelled(planted([2, 3])), by_chance=np.eye(2))
