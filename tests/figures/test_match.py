import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import PolyCollection

from layerscope import figures
from layerscope.cross_model.layer_matching import best_match
from layerscope.errors import UsageError
from tests.figures.drawing import assert_readable, between_two, labelled


def compared(rows: int, columns: int, replicates: int = 0, **attrs) -> xr.Dataset:
    names = {"model": "owner/small-model", "model_other": "larger"} | attrs
    result = xr.Dataset({"cka": between_two(rows, columns)}, attrs=names)
    if replicates:
        noise = np.random.default_rng(1).normal(0, 0.05, (replicates, rows, columns))
        result["cka_bootstrap"] = (("replicate", "layer", "layer_other"), result["cka"].values + noise)
    return result


@pytest.mark.parametrize(
    ("rows", "columns", "width"), [(31, 19, "single"), (7, 31, "double"), (2, 2, 2.5), (75, 13, "single")]
)
def test_words_never_overlap_nor_leave_the_figure(rows, columns, width):
    assert_readable(figures.match(compared(rows, columns, replicates=5), width=width))


def test_long_names_give_way():
    assert_readable(figures.match(compared(9, 9, model="owner/" + 9 * "name", model_other=20 * "name")))
    assert_readable(figures.match(compared(9, 9, model="same", model_other="same")))


def test_lines_points_and_bands_show_the_best_matches():
    result = compared(9, 5, replicates=20)
    found = best_match(result)
    depths, values = figures.match(result).axes
    _, line, points = depths.get_lines()
    np.testing.assert_array_equal(line.get_xydata().T, [found["depth"], found["best_depth"]])
    np.testing.assert_array_equal(points.get_xydata().T, [found["best_depth_other"], found["depth_other"]])
    (band,) = depths.findobj(PolyCollection)
    assert band.get_paths()[0].vertices[:, 1].max() == pytest.approx(float(found["best_depth_high"].max()))
    np.testing.assert_array_equal(values.get_lines()[0].get_ydata(), found["best_value"])
    assert (depths.get_ylabel(), values.get_xlabel()) == (
        "relative depth in larger",
        "relative depth in owner/small-model",
    )
    assert figures.match(compared(9, 5)).axes[0].findobj(PolyCollection) == []


def test_heatmaps_between_two_are_as_wide_as_they_have_layers():
    for rows, columns in ((31, 7), (7, 31)):
        figure = figures.heatmap(between_two(rows, columns))
        assert_readable(figure)
        box = figure.axes[0].get_window_extent()
        assert box.height / box.width == pytest.approx(rows / columns, rel=1e-3)


def test_one_capture_is_refused():
    with pytest.raises(UsageError, match="is of one capture"):
        figures.match(xr.Dataset({"cka": labelled(np.eye(4))}))
