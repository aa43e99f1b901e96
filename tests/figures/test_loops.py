import numpy as np
import pytest
from matplotlib.collections import PolyCollection

from layerscope import figures
from layerscope.errors import MeasureError, UsageError
from layerscope.figures.loop_maps import best_loops
from tests.figures.drawing import assert_readable
from tests.figures.sweeps import specs, synthetic

COUNTS = (1, 2, 3, 5, 8)


@pytest.fixture(scope="module")
def looped():
    return synthetic(specs(variants=["looped_parallel"], loops=COUNTS))


def table(sweep, quantity, task=None):
    """[loops, affected], by looking every run up."""
    values = sweep[quantity].median("task") if task is None else sweep[quantity].sel(task=task)
    expected = np.full((len(COUNTS), 15), np.nan)
    for run in range(1, sweep.sizes["run"]):
        row = COUNTS.index(int(sweep["loops"][run]))
        expected[row, (int(sweep["affected"][run]) - 1) // 2] = float(values[run])
    return expected


def cells_of(figure):
    (cells,) = figure.axes[0].findobj(PolyCollection)
    return cells


def dots(figure):
    (line,) = [line for line in figure.axes[0].get_lines() if line.get_label() == "_best"]
    return list(zip(line.get_xdata(), line.get_ydata(), strict=True))


@pytest.mark.parametrize(
    ("quantity", "width"), [("normalized", "single"), ("loss", "double"), ("loss_difference", 2.5)]
)
def test_words_never_overlap_nor_leave_the_figure(looped, quantity, width):
    assert_readable(figures.loops(looped, quantity, width=width))
    assert_readable(figures.loops(looped, quantity, task="builtin:cloze", width=width))


def test_the_papers_28_counts_are_readable():
    every = synthetic(specs(variants=["looped_parallel"], loops=range(1, 29)), tasks=["builtin:cloze"])
    assert_readable(figures.loops(every, "loss"))


@pytest.mark.parametrize(("quantity", "task"), [("normalized", None), ("loss", "builtin:arithmetic")])
def test_cells_show_loops_upwards_against_m(looped, quantity, task):
    figure = figures.loops(looped, quantity, task=task)
    np.testing.assert_allclose(cells_of(figure).get_array(), table(looped, quantity, task).ravel())
    axes = figure.axes[0]
    assert axes.get_ylim() == (-0.5, 4.5)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["1", "2", "3", "5", "8"]
    assert [label.get_text() for label in axes.get_xticklabels()][:2] == ["1", "5"]
    assert axes.get_ylabel() == "loops"


def test_bright_is_good(looped):
    score, loss = cells_of(figures.loops(looped)), cells_of(figures.loops(looped, "loss"))
    assert (score.norm.vmin, score.norm.vmax) == (0.0, 1.0)
    bright = score.cmap(1.0)
    assert loss.cmap(loss.norm(loss.get_array().min())) == bright
    assert loss.cmap(loss.norm(loss.get_array().max())) == score.cmap(0.0)


@pytest.mark.parametrize(("quantity", "best"), [("loss", np.argmin), ("normalized", np.argmax)])
def test_a_dot_marks_the_best_count_of_each_m(looped, quantity, best):
    expected = [(place, best(column)) for place, column in enumerate(table(looped, quantity).T)]
    assert dots(figures.loops(looped, quantity)) == expected


def test_of_equals_the_least_is_best_and_of_all_equal_none():
    values = np.array([[0.0, 0.5, np.nan], [0.0, 0.7, 0.1], [0.0, 0.7, 0.2]])
    assert best_loops(values, 1) == [None, 1, 2]
    assert best_loops(values, -1) == [None, 0, 1]


def test_parallel_counts_as_one_loop():
    sweep = synthetic(specs(variants=["parallel", "looped_parallel"], loops=(2, 4)))
    figure = figures.loops(sweep, "loss")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["1", "2", "4"]
    once = sweep["loss"].median("task")[sweep["variant"].values == "parallel"]
    np.testing.assert_allclose(cells_of(figure).get_array()[:15], once[::-1])


def test_missing_runs_are_grey_and_never_best(looped):
    best = dots(figures.loops(looped, "loss"))[7][1]
    run = np.flatnonzero((looped["affected"] == 15) & (looped["loops"] == COUNTS[best]))[0]
    figure = figures.loops(looped.isel(run=np.delete(np.arange(looped.sizes["run"]), run)), "loss")
    assert cells_of(figure).get_array().mask.nonzero()[0].tolist() == [15 * best + 7]
    assert dots(figure)[7][1] != best


@pytest.mark.parametrize(("counts", "has"), [((3,), "loops=3 alone"), ((), "none")])
def test_one_count_is_no_map(counts, has):
    sweep = synthetic(specs(variants=["parallel", "looped_parallel"], loops=counts))
    with pytest.raises(MeasureError) as caught:
        figures.loops(sweep)
    assert str(caught.value) == (
        f"the map of loops needs several loop counts of looped_parallel, the sweep has {has}\n"
        "run layerscope sweep with --variants looped_parallel --loops 1-28"
    )


def test_perplexity_is_refused(looped):
    with pytest.raises(UsageError, match="perplexity grows beyond any colour scale: draw quantity loss"):
        figures.loops(looped, "perplexity")
