import itertools

import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_hex

from layerscope import figures
from layerscope.errors import MeasureError, UsageError
from layerscope.figures.data.sweep_curves import RANGE_VARIANTS
from layerscope.figures.data.sweep_scores import sweep_scores
from layerscope.figures.parts.grid import make_grid
from layerscope.figures.parts.legend_entries import legend_entry, level_entry
from layerscope.figures.parts.looks import LOOKS, Look, task_looks
from layerscope.figures.parts.style import applied
from layerscope.schedules.variant import VARIANTS
from tests.figures.drawing import assert_readable, drawn, words
from tests.figures.sweeps import TASKS, specs, synthetic

QUANTITIES = ("normalized", "loss", "loss_difference", "accuracy", "accuracy_norm", "perplexity")


@pytest.fixture(scope="module")
def whole():
    return synthetic()


def lines(axes):
    """The lines of curves by name: neither markers, nor levels, nor the samples of keys."""
    return {line.get_label(): line for line in axes.get_lines() if not line.get_label().startswith("_")}


def markers(axes, name):
    """Points of a curve, filled and hollow: two sets of (across, up)."""
    found = {True: [], False: []}
    for points in of_markers(axes, name):
        for place, colour in zip(points.get_offsets(), points.get_facecolors(), strict=True):
            found[to_hex(colour) != "#ffffff"].append(tuple(place))
    return sorted(found[True]), sorted(found[False])


def of_markers(axes, name):
    return [found for found in axes.collections if found.get_label() == f"_{name}"]


def levels(axes):
    return {
        line.get_label().lstrip("_"): line.get_ydata()[0]
        for line in axes.get_lines()
        if line.get_label() in ("_full model", "_chance") and len(line.get_xdata()) == 2
    }


def runs(sweep, variant):
    return np.flatnonzero(sweep["variant"].values == variant)


def key(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


@pytest.mark.parametrize("width", ["single", "double", 2.5])
@pytest.mark.parametrize("quantity", ["normalized", "loss_difference", "perplexity"])
def test_words_of_the_sweep_never_overlap_nor_leave_the_figure(whole, quantity, width):
    assert_readable(figures.sweep(whole, quantity, width=width))
    assert_readable(figures.sweep(whole, quantity, task="builtin:commonsense", width=width))


@pytest.mark.parametrize(("quantity", "width"), [("normalized", "double"), ("loss", "single"), ("perplexity", 2.5)])
def test_words_of_the_tasks_never_overlap_nor_leave_the_figure(whole, quantity, width):
    assert_readable(figures.tasks(whole, quantity, width=width))
    assert_readable(figures.tasks(whole, quantity, variant="random", width=width))


@pytest.mark.parametrize("depth", [2, 7, 80])
def test_other_depths_are_readable(depth):
    starts = None if depth < 20 else range(0, 39, 4)
    other = synthetic(specs(depth, seeds=2, starts=starts), tasks=list(TASKS)[:2], depth=depth)
    assert_readable(figures.sweep(other, "loss"))
    assert_readable(figures.tasks(other, width="single"))


def test_a_line_is_the_median_over_tasks_against_m(whole):
    axes = figures.sweep(whole).axes[0]
    drawn_lines = lines(axes)
    assert list(drawn_lines) == [
        "skip",
        "middle repeat",
        "reverse",
        "random order",
        "parallel",
        "looped parallel ×3",
    ]
    skipped = whole.isel(run=runs(whole, "skip")).sortby("affected")
    np.testing.assert_array_equal(drawn_lines["skip"].get_xdata(), np.arange(1, 30, 2))
    np.testing.assert_allclose(drawn_lines["skip"].get_ydata(), skipped["normalized"].median("task"))
    assert axes.get_ylabel() == "score (0: chance, 1: full model), median of 4 tasks"
    assert axes.get_xlabel() == "number of affected blocks, M (of 30)"


def test_random_is_the_mean_over_seeds_with_a_band_from_least_to_greatest(whole):
    axes = figures.sweep(whole, "loss").axes[0]
    medians = whole["loss"].median("task").isel(run=runs(whole, "random"))
    at = medians.groupby(whole["affected"].isel(run=runs(whole, "random")))
    np.testing.assert_allclose(lines(axes)["random order"].get_ydata(), at.mean())
    (band,) = [found for found in axes.collections if isinstance(found, PolyCollection)]
    corners = band.get_paths()[0].vertices
    for affected, low, high in zip(range(1, 30, 2), at.min().values, at.max().values, strict=True):
        heights = corners[corners[:, 0] == affected, 1]
        assert (heights.min(), heights.max()) == pytest.approx((low, high))
    assert "least to greatest of 10 seeds" in key(axes.figure)


def test_intervals_of_one_task_are_bars_and_a_median_has_none(whole):
    task = "builtin:cloze"
    figure = figures.sweep(whole, "loss", task=task)
    bars = [found for found in figure.axes[0].collections if isinstance(found, LineCollection)]
    assert [to_hex(bar.get_color()[0]).upper() for bar in bars] == [
        LOOKS[name].colour for name in RANGE_VARIANTS if name != "random"
    ]
    skipped = whole.sel(task=task).isel(run=runs(whole, "skip")).sortby("affected")
    ends = np.array([segment[:, 1] for segment in bars[0].get_segments()])
    np.testing.assert_allclose(ends, np.stack([skipped["loss_low"], skipped["loss_high"]], axis=1))
    assert "95 % interval" in key(figure)
    median = figures.sweep(whole, "loss")
    assert not [found for found in median.axes[0].collections if isinstance(found, LineCollection)]
    assert "95 % interval" not in key(median)
    without = figures.sweep(synthetic(intervals=False), "loss", task=task)
    assert not [found for found in without.axes[0].collections if isinstance(found, LineCollection)]


@pytest.mark.parametrize("starts", [None, [5, 9, 14]])
def test_lines_with_bars_are_set_aside_by_less_than_half_an_m(starts):
    axes = figures.sweep(synthetic(specs(starts=starts, seeds=2)), "loss", task="builtin:cloze").axes[0]
    aside = [line.get_xdata()[0] - 1 for line in lines(axes).values()]
    assert len(set(np.round(aside, 9))) == 6
    assert max(map(abs, aside)) < 0.5
    assert sum(aside) == pytest.approx(0.0)
    ends = [place for line in lines(axes).values() for place in line.get_xdata()]
    assert axes.get_xlim()[0] < min(ends) - 0.2
    assert axes.get_xlim()[1] > max(ends) + 0.2


def test_markers_are_hollow_where_accuracy_is_not_above_chance(whole):
    task = "builtin:commonsense"
    skipped = whole.sel(task=task).isel(run=runs(whole, "skip")).sortby("affected")
    above = (skipped["accuracy_low"] > 0.5).values
    assert 0 < above.sum() < len(above)
    for quantity in ("accuracy", "loss"):
        figure = figures.sweep(whole, quantity, task=task)
        filled, hollow = markers(figure.axes[0], "skip")
        np.testing.assert_allclose([up for _, up in filled], skipped[quantity].values[above])
        np.testing.assert_allclose([up for _, up in hollow], skipped[quantity].values[~above])
        assert "accuracy not above chance" in key(figure)
    figure = figures.sweep(whole.drop_vars("chance"), "loss", task=task)
    assert markers(figure.axes[0], "skip")[1] == []
    assert not [words for words in key(figure) if "above chance" in words]


def test_of_several_tasks_more_than_half_must_be_above_chance(whole):
    found = sweep_scores(whole, "loss")
    above = whole["accuracy_low"] > whole["chance"]
    np.testing.assert_array_equal(found.above, above.sum("task") > 2)
    plain = sweep_scores(synthetic(intervals=False), "loss")
    assert (plain.above >= found.above).all()
    assert (plain.above > found.above).any()


def test_levels_are_those_of_the_full_model_and_of_chance(whole):
    def of(quantity, **options):
        return levels(figures.sweep(whole, quantity, **options).axes[0])

    assert of("normalized") == {"full model": 1.0, "chance": 0.0}
    assert of("loss") == {"full model": pytest.approx(2.35)}
    assert of("loss_difference") == {"full model": pytest.approx(0.0)}
    assert of("accuracy", task="builtin:commonsense") == {"full model": pytest.approx(0.71), "chance": 0.5}
    assert of("accuracy") == {"full model": pytest.approx(0.53)}  # tasks do not share a chance level


def test_scores_of_a_fine_tuning_are_put_together_by_their_mean(whole):
    scored = whole.assign(score=whole.accuracy)
    axes = figures.sweep(scored, "score").axes[0]
    skip = scored.isel(run=scored.variant.values == "skip").sortby("affected")
    assert lines(axes)["skip"].get_ydata() == pytest.approx(skip.score.mean("task").values)
    assert axes.get_ylabel() == "score (each task's own), mean of 4 tasks"
    assert figures.sweep(whole, "accuracy").axes[0].get_ylabel() == "accuracy, median of 4 tasks"


def test_perplexity_is_logarithmic_and_others_linear(whole):
    assert [figures.sweep(whole, name).axes[0].get_yscale() for name in QUANTITIES] == ["linear"] * 5 + ["log"]


def test_names_stand_at_the_ends_of_lines_in_the_order_of_the_ends(whole):
    figure = figures.sweep(whole, "loss")
    axes = figure.axes[0]
    drawn(figure)
    ends = {name: line.get_ydata()[-1] for name, line in lines(axes).items()} | {"full model": 2.35}
    places = {text.get_text(): text.get_window_extent().y0 for text in axes.texts}
    assert sorted(places, key=places.get) == sorted(ends, key=ends.get)
    assert key(figure) == [
        "least to greatest of 10 seeds",
        "accuracy not above chance in half the tasks",
        "above chance: all to M = 7, some to 21",
    ]
    single = figures.sweep(whole, "loss", width="single")
    assert list(single.axes[0].texts) == []
    assert set(ends) < set(key(single))


def test_lines_that_end_together_are_named_in_the_order_in_which_they_come_there():
    """And each name is tied to the end of its line."""
    tied = synthetic(specs(seeds=1), tasks=["builtin:cloze"], intervals=False)
    at_end = (tied["affected"] == 29).values
    tied["accuracy"][:, at_end] = 0.0
    figure = figures.sweep(tied, "accuracy")
    (axes,) = figure.axes
    drawn(figure)
    before = {name: line.get_ydata()[-2] for name, line in lines(axes).items()}
    places = {text.get_text(): text.get_window_extent().y0 for text in axes.texts}
    assert sorted(before, key=places.get) == sorted(before, key=before.get)
    ties = {
        line.get_label().removeprefix("_tie to "): line for line in axes.get_lines() if "_tie to" in line.get_label()
    }
    assert set(ties) == set(places)
    for name, line in lines(axes).items():
        end = axes.transData.transform((line.get_xdata()[-1], line.get_ydata()[-1]))
        starts = axes.transAxes.transform((ties[name].get_xdata()[0], ties[name].get_ydata()[0]))
        np.testing.assert_allclose(starts, end, atol=1e-6)
        assert ties[name].get_color() == line.get_color()


def test_the_middle_of_two_tasks_is_called_their_mean(whole):
    two = whole.isel(task=[0, 1])
    axes = figures.sweep(two, "loss").axes[0]
    assert axes.get_ylabel() == "loss (nats per token), mean of 2 tasks"
    skipped = two.isel(run=runs(two, "skip")).sortby("affected")
    np.testing.assert_allclose(lines(axes)["skip"].get_ydata(), skipped["loss"].mean("task"))
    assert figures.sweep(whole, "loss", width=2.5).axes[0].get_ylabel() == "median loss (nats per token)"


def test_the_key_says_over_which_range_accuracy_is_above_chance(whole):
    task = "builtin:commonsense"
    above = (whole["accuracy_low"].sel(task=task) > 0.5).values
    affected = whole["affected"].values
    drawn_runs = np.isin(whole["variant"].values, [name for name in RANGE_VARIANTS if name != "random"])
    all_to = max(count for count in range(1, 30, 2) if above[drawn_runs & (affected <= count)].all())
    some_to = affected[drawn_runs & above].max()
    some = whole.isel(run=np.flatnonzero(drawn_runs | (affected == 0)))
    for make in (figures.sweep, figures.latency):
        kept = some if make is figures.sweep else some.isel(run=np.isin(some["variant"], ["identity", "skip"]))
        words = [text for text in key(make(kept, "loss", task=task)) if text.startswith("above chance")]
        assert len(words) == 1
        assert make is figures.latency or words == [f"above chance: all to M = {all_to}, some to {some_to}"]
    never = some.assign(accuracy_low=some["accuracy_low"] - 1)
    assert "above chance: none" in key(figures.sweep(never, "loss", task=task))
    assert not [text for text in key(figures.single(synthetic(specs(variants=["drop"])))) if "M =" in text]


def test_one_of_several_loop_counts_is_drawn():
    sweep = synthetic(specs(variants=["looped_parallel"], loops=(2, 3, 8)))
    for loops, name in ((None, "looped parallel ×3"), (8, "looped parallel ×8")):
        axes = figures.sweep(sweep, "loss", loops=loops).axes[0]
        (line,) = lines(axes).values()
        assert (line.get_label(), len(line.get_xdata())) == (name, 15)
    rest = synthetic(specs(variants=["looped_parallel"], loops=(1, 5)))
    assert list(lines(figures.sweep(rest).axes[0])) == ["looped parallel ×5"]
    with pytest.raises(UsageError, match=r"the sweep has no looped_parallel with loops=4: it has \[2, 3, 8\]"):
        figures.sweep(sweep, loops=4)


def test_unfinished_runs_are_left_out_and_medians_need_all_tasks(whole):
    partial = whole.copy(deep=True)
    last = runs(whole, "skip")[-1]
    partial["loss"][1, last] = np.nan
    axes = figures.sweep(partial, "loss").axes[0]
    assert lines(axes)["skip"].get_xdata().tolist() == list(range(3, 30, 2))
    partial["loss"][1, 0] = np.nan  # a task without the full model is no part of the median
    found = sweep_scores(partial, "loss")
    assert found.tasks == tuple(task for task in TASKS if task != "builtin:commonsense")
    np.testing.assert_allclose(found.values, whole["loss"].isel(task=[0, 2, 3]).median("task"))


def test_tasks_have_a_panel_a_variant_and_a_line_a_task_on_one_scale(whole):
    figure = figures.tasks(whole, "loss")
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["skip", "middle repeat", "reverse", "random order", "parallel", "looped parallel ×3"]
    assert len({axes.get_ylim() for axes in figure.axes}) == 1
    for axes, variant in zip(figure.axes, RANGE_VARIANTS, strict=True):
        assert list(lines(axes)) == ["cloze", "commonsense", "arithmetic", "arc challenge"]
        mine = whole.isel(run=runs(whole, variant))
        means = mine["loss"].groupby(mine["affected"]).mean()
        for line, task in zip(lines(axes).values(), TASKS, strict=True):
            np.testing.assert_allclose(line.get_ydata(), means.sel(task=task))
    assert key(figure)[:5] == ["cloze", "commonsense", "arithmetic", "arc challenge", "full model"]
    low, high = figure.axes[0].get_ylim()
    assert low < float(whole["loss"].min())
    assert high > float(whole["loss"].max())


def test_tasks_keep_their_own_full_model_unless_the_level_is_shared(whole):
    def heights(quantity):
        axes = figures.tasks(whole, quantity, variant="skip").axes[0]
        return [line.get_ydata()[0] for line in axes.get_lines() if line.get_label() == "_full model"]

    assert heights("loss") == pytest.approx([facts[0] for facts in TASKS.values()])
    assert heights("normalized") == [1.0]


def test_a_task_without_the_quantity_is_left_out(whole):
    partial = whole.copy(deep=True)
    partial["accuracy"][2] = np.nan
    assert list(lines(figures.tasks(partial, "accuracy").axes[0])) == ["cloze", "commonsense", "arc challenge"]


def test_every_variant_has_a_look_of_its_own():
    assert set(LOOKS) == {*VARIANTS, "explicit"}
    assert len({(look.colour, look.marker) for look in LOOKS.values()}) == len(LOOKS)
    together = [LOOKS[name] for name in RANGE_VARIANTS]
    assert len({look.colour for look in together}) == len({look.marker for look in together}) == len(RANGE_VARIANTS)


# Machado, Oliveira and Fernandes 2009: severity 1.
BLINDNESS = {
    "none": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}


@pytest.mark.parametrize("kind", BLINDNESS)
def test_variants_are_told_apart_by_colour_blind_readers(kind):
    def seen(colour):
        value = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
        linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
        linear = np.clip(np.array(BLINDNESS[kind]) @ linear, 0, 1)
        # Oklab, in which equal distances look alike
        cone = np.array([[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]]) @ linear
        return np.array([[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]) @ np.cbrt(
            cone
        )

    colours = [seen(LOOKS[name].colour) for name in RANGE_VARIANTS]
    assert min(np.linalg.norm(one - other) for one, other in itertools.combinations(colours, 2)) > 0.06


def test_tasks_of_one_short_name_keep_the_whole():
    looks = task_looks(["builtin:order", "lm-eval:order"])
    assert [look.name for look in looks.values()] == ["builtin:order", "lm-eval:order"]


@pytest.mark.parametrize("across", [2.5, 6.9])
@pytest.mark.parametrize("lengths", [[1], [3, 30, 5], [12] * 7, [9, 14, 7, 12, 8, 16, 10, 6], list(range(1, 15))])
def test_keys_of_any_names_are_read_row_by_row_and_never_overlap(lengths, across):
    names = [f"{number}{'x' * length}" for number, length in enumerate(lengths)]
    entries = [legend_entry(Look(name, "#000000", "o")) for name in names]
    with applied():
        figure = make_grid(across, [""], [entries, [level_entry("another group")]]).figure
    assert_readable(figure)
    texts = figure.legends[0].get_texts()
    places = [text.get_window_extent() for text in texts]
    rows = sorted(zip(places, texts, strict=True), key=lambda found: (-round(found[0].y0 / 6), found[0].x0))
    assert [text.get_text() for _, text in rows] == names
    assert figure.legends[1].get_texts()[0].get_window_extent().y0 > figure.axes[0].get_window_extent().y1
    if across > 6:
        assert len({round(place.y0) for place in places}) <= -(-len(names) // 4)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda s: figures.sweep(xr.Dataset()), UsageError, "this is no sweep: it has no variant of each run"),
        (lambda s: figures.sweep(s.isel(run=slice(1, None))), UsageError, "run 0 is not the full model"),
        (lambda s: figures.sweep(s.drop_vars("task")), UsageError, "its tasks have no names"),
        (lambda s: figures.sweep(s, "los"), UsageError, "unknown quantity 'los': did you mean 'loss'"),
        (lambda s: figures.sweep(s, task="builtin:close"), UsageError, "did you mean 'builtin:cloze'"),
        (lambda s: figures.sweep(s, width="triple"), UsageError, "width is 'triple'"),
        (lambda s: figures.tasks(s, variant="drop"), UsageError, "unknown range variant 'drop'"),
        (
            lambda s: figures.sweep(s.drop_vars("normalized")),
            MeasureError,
            "the sweep has no normalized of its tasks: draw --quantity loss instead",
        ),
        (
            lambda s: figures.sweep(s.drop_vars("loss"), "loss", task="builtin:cloze"),
            MeasureError,
            "the sweep has no loss of builtin:cloze: draw --quantity accuracy instead",
        ),
        (
            lambda s: figures.sweep(s.drop_vars(["loss", "normalized"]).isel(task=[0]), "loss"),
            MeasureError,
            "draw --quantity accuracy instead",
        ),
        (
            lambda s: figures.sweep(s[["accuracy"]].where(False).assign_attrs(s.attrs), "accuracy"),
            MeasureError,
            "of its tasks: sweep again",
        ),
        (
            lambda s: figures.sweep(s.isel(run=[0])),
            MeasureError,
            "the sweep holds no finished run of a range variant\nrun layerscope sweep with --variants all",
        ),
        (
            lambda s: figures.tasks(s.isel(run=[0]), variant="skip"),
            MeasureError,
            "the sweep holds no finished run of skip\nrun layerscope sweep with --variants skip",
        ),
    ],
)
def test_refusals(whole, make, error, message):
    with pytest.raises(error) as caught:
        make(whole)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2


def test_words_say_the_medians_quantity_only_where_there_are_several_tasks(whole):
    one = figures.sweep(whole, "loss", task="builtin:cloze")
    assert one.axes[0].get_ylabel() == "loss (nats per token)"
    assert figures.sweep(whole.isel(task=[0]), "loss").axes[0].get_ylabel() == "loss (nats per token)"
    assert "loss (nats per token), median of 4 tasks" in [text for text, _, _ in words(figures.sweep(whole, "loss"))]
