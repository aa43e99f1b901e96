import numpy as np
import pytest
import xarray as xr

from layerscope import figures
from layerscope.errors import UsageError
from tests.figures.drawing import assert_readable


def trained(checkpoints: int, layers: int, low: float = 0.0) -> xr.Dataset:
    rng = np.random.default_rng(0)
    values = np.sort(rng.uniform(low, 1, (checkpoints, layers)), axis=0)
    before = rng.uniform(low, 1, (checkpoints, layers))
    values[-1], before[0] = 1, np.nan
    steps = np.r_[0, 2 ** np.arange(checkpoints - 1)]
    words = {"long_name": "linear CKA, debiased, minibatches, with itself in the last checkpoint"}
    return xr.Dataset(
        {
            "cka_to_last": (("checkpoint", "layer"), values, words),
            "cka_to_previous": (("checkpoint", "layer"), before, words),
        },
        {"step": ("checkpoint", steps), "layer": np.arange(layers)},
        {"measure": "cka"},
    )


@pytest.mark.parametrize(
    ("checkpoints", "layers", "width"),
    [(2, 2, "double"), (18, 31, "double"), (18, 7, "single"), (5, 1, 2.5), (40, 75, 5.0)],
)
def test_words_never_overlap_nor_leave_the_figure(checkpoints, layers, width):
    assert_readable(figures.training(trained(checkpoints, layers), width=width))


def test_a_line_a_layer_and_the_steps_below():
    result = trained(5, 3, low=-0.4)
    last, previous, bar = figures.training(result).axes
    for name, axes in (("cka_to_last", last), ("cka_to_previous", previous)):
        assert len(axes.get_lines()) == 3
        for layer, line in enumerate(axes.get_lines()):
            np.testing.assert_array_equal(line.get_ydata(), result[name][:, layer])
        assert axes.get_ylim()[0] < float(result[name].min())
        assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1", "2", "4", "8"]
    colours = [line.get_color() for line in last.get_lines()]
    assert len(set(colours)) == 3
    assert [line.get_color() for line in previous.get_lines()] == colours
    assert bar.get_ylabel() == "layer"
    assert last.get_title(loc="left") == "with itself in the last checkpoint"
    assert last.get_ylabel() == "linear CKA, debiased, minibatches"


def test_anything_else_is_refused():
    with pytest.raises(UsageError, match="holds no similarity over training"):
        figures.training(xr.Dataset({"cka": ("layer", [1.0])}))
