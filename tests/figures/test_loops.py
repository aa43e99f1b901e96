import numpy as np
import pytest
from matplotlib.collections import PolyCollection

from layerscope import figures
from layerscope.errors import MeasureError, UsageError
from layerscope.figures.data.loop_map import best_loops, loop_map
from layerscope.measures.kernels.bootstrap import bootstrap_weights
from tests.figures.drawing import assert_readable
from tests.figures.sweeps import specs, synthetic
from tests.figures.test_sweeps import key

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
    return [(int(place), int(row)) for place, row in zip(line.get_xdata(), line.get_ydata(), strict=True)]


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


def drawn_as(figure, kind):
    return [line for line in figure.axes[0].get_lines() if line.get_label() == f"_{kind}"]


@pytest.fixture(scope="module")
def with_examples(looped):
    """The same with losses and answers of 40 examples that have those means."""
    draw = np.random.default_rng(1)
    tasks, runs, examples = looped["example_loss"].shape
    loss = looped["loss"].values[..., None] + draw.normal(0.0, 1.5, (tasks, runs, examples))
    loss += looped["loss"].values[..., None] - loss.mean(-1, keepdims=True)
    correct = np.sort(draw.random((tasks, runs, examples)), axis=-1) < looped["accuracy"].values[..., None]
    return looped.assign(
        example_loss=(("task", "run", "example"), loss),
        example_correct=(("task", "run", "example"), correct.astype(np.float64)),
        target_tokens=(("task", "example"), np.ones((tasks, examples))),
    )


def test_a_bar_goes_over_the_interval_of_the_best_count(with_examples):
    task = "builtin:cloze"
    draw = np.random.default_rng(7)
    losses = with_examples["example_loss"].sel(task=task).values
    expected = []
    for affected in range(1, 30, 2):
        runs = [
            np.flatnonzero((with_examples["affected"] == affected) & (with_examples["loops"] == count))[0]
            for count in COUNTS
        ]
        chosen = draw.integers(40, size=(4000, 40))
        means = losses[runs][:, chosen].mean(-1)
        expected.append(np.percentile(np.array(COUNTS)[means.argmin(0)], [2.5, 97.5]))
    found = loop_map(with_examples, "loss", task)
    np.testing.assert_allclose(np.stack([found.low, found.high], 1), expected, atol=1.01)
    assert (found.low <= found.best).all()
    assert (found.best <= found.high).all()
    assert (found.low < found.high).any()
    bars = drawn_as(figures.loops(with_examples, "loss", task=task), "interval")
    rows = [np.interp([low, high], COUNTS, range(5)) for low, high in zip(found.low, found.high, strict=True)]
    np.testing.assert_allclose([bar.get_ydata() for bar in bars], rows)
    assert [bar.get_xdata()[0] for bar in bars] == list(range(15))


def test_without_examples_there_is_no_bar_and_no_interval(looped):
    figure = figures.loops(looped, "loss")
    assert drawn_as(figure, "interval") == []
    words = key(figure)
    assert words[0] == "best number of loops for each M"
    assert "its 95 % interval" not in words
    assert not any("[" in text for text in words)


def test_the_best_proportion_is_the_least_squares_line_through_the_origin(with_examples):
    task = "builtin:cloze"
    affected = np.arange(1, 30, 2)
    best = np.array(COUNTS)[table(with_examples, "loss", task).argmin(0)]
    slope = float(np.linalg.lstsq(affected[:, None], best, rcond=None)[0][0])
    found = loop_map(with_examples, "loss", task).proportion
    assert found.loops_a_block == pytest.approx(slope)
    assert found.low <= slope <= found.high
    figure = figures.loops(with_examples, "loss", task=task)
    words = f"best proportion: loops = {slope:.2f} M [{found.low:.2f}, {found.high:.2f}]"
    assert key(figure)[1:3] == ["its 95 % interval", words]
    (line,) = drawn_as(figure, "proportion")
    inside = (slope * affected >= 1) & (slope * affected <= 8)
    np.testing.assert_array_equal(line.get_xdata(), np.flatnonzero(inside))
    np.testing.assert_allclose(line.get_ydata(), np.interp(slope * affected[inside], COUNTS, range(5)))


@pytest.mark.parametrize("width", ["single", "double", 2.5])
def test_words_with_intervals_never_overlap_nor_leave_the_figure(with_examples, width):
    assert_readable(figures.loops(with_examples, "normalized", width=width))


def test_over_several_tasks_each_replicate_has_a_middle_of_its_own(with_examples):
    """The same examples of each task for all runs; tasks by themselves."""
    found = loop_map(with_examples, "normalized")
    correct, chance = with_examples["example_correct"].values, with_examples["chance"].values
    scores = []
    for task in range(4):
        means = correct[task] @ bootstrap_weights(40, 1000, seed=task).T / 40
        better = means[0] - chance[task]
        scores.append((means - chance[task]) / np.where(better > 0, better, np.nan))
    middle = np.median(scores, axis=0)
    for place, affected in enumerate(range(1, 30, 2)):
        runs = [
            np.flatnonzero((with_examples["affected"] == affected) & (with_examples["loops"] == count))[0]
            for count in COUNTS
        ]
        of_runs = middle[runs]
        best = np.array(COUNTS, float)[(of_runs > of_runs.max(0) - 1e-9).argmax(0)]
        best[~(of_runs.max(0) - of_runs.min(0) > 1e-9)] = np.nan
        np.testing.assert_allclose([found.low[place], found.high[place]], np.nanpercentile(best, [2.5, 97.5]))
    assert np.isnan(loop_map(with_examples, "accuracy_norm").low).all()  # the file holds no such examples


def test_crosses_stand_where_accuracy_is_not_above_chance(looped):
    task = "builtin:commonsense"
    figure = figures.loops(looped, "loss", task=task)
    crosses = drawn_as(figure, "not above chance")
    runs = np.flatnonzero(looped["accuracy_low"].sel(task=task) <= 0.5)
    expected = {((int(looped["affected"][run]) - 1) // 2, COUNTS.index(int(looped["loops"][run]))) for run in runs}
    assert expected
    found = [place for of_ink in crosses for place in zip(of_ink.get_xdata(), of_ink.get_ydata(), strict=True)]
    assert set(found) == expected
    assert len(found) == len(expected)
    cells = cells_of(figure)
    fills = cells.to_rgba(cells.get_array())
    for of_ink in crosses:  # black on bright cells, white on dark ones
        places = [round(up) * 15 + round(along) for along, up in of_ink.get_xydata()]
        means = fills[places, :3].mean(1)
        assert (means > 0.4).all() if of_ink.get_color() == "black" else (means < 0.6).all()
    assert "accuracy not above chance" in key(figure)
    assert "accuracy not above chance" not in key(figures.loops(looped.drop_vars("chance"), "loss", task=task))


def test_of_equals_the_least_is_best_and_of_all_equal_none():
    values = np.array([[0.0, 0.5, np.nan], [0.0, 0.7, 0.1], [0.0, 0.7, 0.2]])
    counts = np.array([1, 4, 9])
    np.testing.assert_array_equal(best_loops(values, counts, 1), [np.nan, 4, 9])
    np.testing.assert_array_equal(best_loops(values, counts, -1), [np.nan, 1, 4])


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


@pytest.mark.parametrize(
    "hurt",
    [
        lambda sweep: sweep.drop_vars("example_loss").assign(example_loss=1.0),
        lambda sweep: sweep.assign(target_tokens=sweep["target_tokens"].astype(str)),
    ],
)
def test_examples_that_are_not_those_of_the_runs_are_refused(with_examples, hurt):
    with pytest.raises(UsageError, match="not a complete sweep"):
        figures.loops(hurt(with_examples))


def test_perplexity_is_refused(looped):
    with pytest.raises(UsageError, match="perplexity exceeds any colour scale: draw its logarithm, quantity loss"):
        figures.loops(looped, "perplexity")


def test_no_cross_stands_under_an_interval(with_examples):
    task = "builtin:commonsense"
    figure = figures.loops(with_examples, "loss", task=task)
    found = loop_map(with_examples, "loss", task)
    spans = [(COUNTS.index(int(low)), COUNTS.index(int(high))) for low, high in zip(found.low, found.high, strict=True)]
    crosses = np.concatenate([of_ink.get_xydata() for of_ink in drawn_as(figure, "not above chance")])
    hidden = [(place, row) for row, place in np.argwhere(found.above == 0) if spans[place][0] <= row <= spans[place][1]]
    assert hidden
    assert not set(hidden) & {(round(along), round(up)) for along, up in crosses}
    assert len(crosses) + len(hidden) == (found.above == 0).sum()


def test_a_sweep_cut_to_some_of_its_examples_is_refused():
    sweep = synthetic(specs(variants=["looped_parallel"], loops=(2, 3)))
    with pytest.raises(UsageError, match="the dataset has 1 of the 40 examples"):
        figures.loops(sweep.isel(example=[0]), "loss")
