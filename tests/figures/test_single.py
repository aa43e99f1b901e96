import numpy as np
import pytest

from layerscope import figures
from layerscope.errors import MeasureError
from tests.figures.drawing import assert_readable
from tests.figures.sweeps import TASKS, specs, synthetic
from tests.figures.test_sweeps import key, levels, lines


@pytest.fixture(scope="module")
def blocks():
    return synthetic(specs(variants=["drop", "swap"]))


@pytest.mark.parametrize(
    ("quantity", "width"),
    [("loss", "double"), ("loss_difference", "single"), ("normalized", 2.5), ("perplexity", "single")],
)
def test_words_never_overlap_nor_leave_the_figure(blocks, quantity, width):
    assert_readable(figures.single(blocks, quantity, width=width))
    assert_readable(figures.single(blocks, quantity, task="builtin:cloze", width=width))


def test_blocks_stand_at_their_numbers_and_exchanges_between_two(blocks):
    figure = figures.single(blocks)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "cloze",
        "commonsense",
        "arithmetic",
        "arc challenge",
    ]
    for axes, task in zip(figure.axes, TASKS, strict=True):
        drop, swap = lines(axes)["drop one"], lines(axes)["swap neighbours"]
        np.testing.assert_array_equal(drop.get_xdata(), np.arange(30))
        np.testing.assert_array_equal(swap.get_xdata(), np.arange(29) + 0.5)
        for line, variant in ((drop, "drop"), (swap, "swap")):
            mine = blocks.sel(task=task).isel(run=blocks["variant"].values == variant).sortby("start")
            np.testing.assert_array_equal(line.get_ydata(), mine["loss"])
        assert levels(axes) == {"full model": TASKS[task][0]}
    assert key(figure)[:3] == ["drop one", "swap neighbours", "full model"]


def test_scores_share_their_scale_and_losses_do_not(blocks):
    limits = {name: {axes.get_ylim() for axes in figures.single(blocks, name).axes} for name in ("normalized", "loss")}
    assert {name: len(found) for name, found in limits.items()} == {"normalized": 1, "loss": 4}


def test_differences_are_linear_near_0_and_logarithmic_beyond(blocks):
    axes = figures.single(blocks, "loss_difference").axes[0]
    assert axes.get_yscale() == "symlog"
    values = blocks["loss_difference"].sel(task="builtin:cloze").values
    seen = (axes.transScale + axes.transLimits).transform([(0.0, values.min()), (0.0, values.max())])[:, 1]
    assert 0.02 < seen[0] < 0.3
    assert 0.7 < seen[1] < 0.98  # the margins are those of this scale
    assert figures.single(blocks).axes[0].get_yscale() == "linear"


def test_of_one_variant_only_that_is_drawn():
    figure = figures.single(synthetic(specs(variants=["swap"])), task="builtin:cloze")
    assert list(lines(figure.axes[0])) == ["swap neighbours"]
    assert "drop one" not in key(figure)


def test_a_sweep_without_single_blocks_is_refused():
    with pytest.raises(MeasureError) as caught:
        figures.single(synthetic(specs(variants=["skip"])))
    assert str(caught.value) == (
        "the sweep holds no finished run of drop or swap\nrun layerscope sweep with --variants drop,swap"
    )
