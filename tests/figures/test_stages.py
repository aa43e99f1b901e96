import numpy as np
import pytest

from layerscope import figures
from layerscope.errors import MeasureError, UsageError
from layerscope.figures.parts.looks import LOOKS
from tests.figures.drawing import assert_readable
from tests.figures.sweeps import specs, synthetic
from tests.figures.test_sweeps import key, lines

TASK = "builtin:cloze"


@pytest.fixture(scope="module")
def whole():
    return synthetic([*specs(seeds=1), "0-8 (9|10|11)*3 12-29"])


@pytest.mark.parametrize("width", ["single", "double", 2.5])
def test_words_never_overlap_nor_leave_the_figure(whole, width):
    assert_readable(figures.stages(whole, width=width))
    assert_readable(
        figures.stages(whole, ["skip:3", "random:12:seed=0", "parallel:3", "0-8 (9|10|11)*3 12-29"], width=width)
    )


def test_without_choice_skip_and_middle_repeat_affect_about_half_the_blocks(whole):
    figure = figures.stages(whole)
    variance, drift = figure.axes
    assert key(figure) == ["full model", "skip:7", "middle_repeat:7"]  # M = 15 of 30
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["variance over tokens", "drift (1 − cosine)"]
    assert (variance.get_yscale(), drift.get_yscale()) == ("log", "linear")
    assert variance.get_xlabel() == drift.get_xlabel() == "layer of the full model"


def test_a_point_stands_above_the_state_that_its_stage_is_held_against(whole):
    variance, drift = figures.stages(whole, task="builtin:arithmetic").axes
    for axes, name in ((variance, "variance_stage"), (drift, "drift_cosine_stage")):
        for spec, states in (("skip:7", [*range(1, 9), *range(24, 31)]), ("middle_repeat:7", range(1, 31))):
            line = lines(axes)[spec]
            run = whole["schedule"].values.tolist().index(spec)
            assert line.get_xdata().tolist() == list(states)
            values = whole[name].sel(task="builtin:arithmetic").values[run]
            np.testing.assert_array_equal(line.get_ydata(), values[np.isfinite(values)])


def test_runs_of_one_variant_are_told_apart(whole):
    figure = figures.stages(whole, ["skip:3", "skip:7", "skip:11"])
    colours = [line.get_color() for line in lines(figure.axes[0]).values()]
    assert len(set(colours)) == 4
    assert colours[:2] == [LOOKS["identity"].colour, LOOKS["skip"].colour]
    assert key(figures.stages(whole, "skip:3")) == ["full model", "skip:3"]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda s: figures.stages(s, "skip:99"), UsageError, "unknown schedule of this sweep 'skip:99': did you mean"),
        (lambda s: figures.stages(s, task="cloze"), UsageError, "unknown task of this sweep 'cloze'"),
        (
            lambda s: figures.stages(s, [f"skip:{start}" for start in range(9)]),
            UsageError,
            "9 schedules: a figure of stages holds at most 8, give fewer",
        ),
        (
            lambda s: figures.stages(s.drop_vars(["variance_stage", "drift_cosine_stage"])),
            MeasureError,
            "the sweep holds nothing of each stage for builtin:cloze: draw another --task, or sweep again",
        ),
        (
            lambda s: figures.stages(s.isel(run=s["variant"].values != "skip")),
            MeasureError,
            "the sweep holds no skip and middle_repeat with the same start: name its runs with --schedule\n"
            "or run layerscope sweep with --variants skip,middle_repeat",
        ),
    ],
)
def test_refusals(whole, make, error, message):
    with pytest.raises(error) as caught:
        make(whole)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2
