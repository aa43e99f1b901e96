import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex

from layerscope import figures
from layerscope.errors import MeasureError, UsageError
from layerscope.figures.parts.looks import LOOKS
from tests.figures.drawing import assert_readable
from tests.figures.sweeps import TASKS, specs, synthetic
from tests.figures.test_sweeps import key, levels, lines, markers, of_markers, runs


@pytest.fixture(scope="module")
def whole():
    return synthetic([*specs(), *specs(variants=["drop", "swap"])[1:], "0-12 17-13 18-29"])


@pytest.fixture(scope="module")
def timed(whole):
    measured = np.isin(whole["variant"].values, ["identity", "skip", "parallel"])
    return whole.assign(seconds_per_token=("run", np.where(measured, 0.001 * (2.0 + whole["stages"].values), np.nan)))


def clouds(axes):
    return {cloud.get_label().lstrip("_"): cloud for cloud in axes.collections if isinstance(cloud, PathCollection)}


@pytest.mark.parametrize(("drift", "width"), [("drift_cosine", "double"), ("drift_norm", "single"), ("drift_cka", 2.5)])
def test_words_of_drift_never_overlap_nor_leave_the_figure(whole, drift, width):
    assert_readable(figures.drift(whole, drift, width=width))
    assert_readable(figures.drift(whole, drift, task="builtin:cloze", width=width))


@pytest.mark.parametrize("drift", ["drift_cosine", "drift_norm", "drift_cka"])
def test_every_run_is_a_point_in_the_colour_of_its_variant(whole, drift):
    figure = figures.drift(whole, drift)
    for axes, task in zip(figure.axes, TASKS, strict=True):
        found = clouds(axes)
        assert set(found) == {look.name for name, look in LOOKS.items() if name in whole["variant"].values} - {
            "full model"
        }
        for variant in ("random", "drop"):
            mine = whole.sel(task=task).isel(run=runs(whole, variant))
            expected = np.stack([mine[drift], mine["loss"]], axis=1)
            cloud = found[LOOKS[variant].name]
            assert sorted(map(tuple, cloud.get_offsets())) == sorted(map(tuple, expected))
            assert to_hex(cloud.get_edgecolors()[0]).upper() == LOOKS[variant].colour
        assert levels(axes) == {"full model": pytest.approx(TASKS[task][0])}


def test_a_point_is_the_larger_the_more_blocks_are_affected(whole):
    cloud = clouds(figures.drift(whole, task="builtin:cloze").axes[0])["skip"]
    skipped = whole.sel(task="builtin:cloze").isel(run=runs(whole, "skip"))
    affected = dict(zip(skipped["drift_cosine"].values, skipped["affected"].values, strict=True))
    counts = [affected[along] for along, _ in cloud.get_offsets()]
    assert counts == sorted(counts, reverse=True)  # small over large
    assert (np.diff(cloud.get_sizes()) < 0).all()
    assert [text for text in key(cloud.axes.figure) if "affected" in text] == [
        "1 affected",
        "15 affected",
        "29 affected",
    ]


def test_the_key_has_sizes_of_runs_that_are_there_alone():
    sweep = synthetic(specs(variants=["skip"], starts=[2, 5, 6]), tasks=["builtin:cloze"])  # M = 25, 19, 17
    for make in (figures.drift, figures.latency):
        shown = [text for text in key(make(sweep)) if "affected" in text]
        assert shown == ["17 affected", "19 affected", "25 affected"]
    explicit = synthetic(["identity", "0-8 12-29"], tasks=["builtin:cloze"])  # how many it affects is not known
    assert not [text for text in key(figures.drift(explicit)) if "affected" in text]


def test_points_of_latency_grow_with_the_number_of_affected_blocks(whole):
    (points,) = of_markers(figures.latency(whole, "loss").axes[0], "skip")
    stages, sizes = points.get_offsets()[:, 0], points.get_sizes()
    assert stages.tolist() == sorted(stages)  # fewest stages, and so most affected, first
    assert (np.diff(sizes) < 0).all()


def test_points_not_above_chance_are_hollow(whole):
    cloud = clouds(figures.drift(whole, task="builtin:commonsense").axes[0])["skip"]
    skipped = whole.sel(task="builtin:commonsense").isel(run=runs(whole, "skip")).sortby("affected", ascending=False)
    hollow = [to_hex(colour) == "#ffffff" for colour in cloud.get_facecolors()]
    np.testing.assert_array_equal(hollow, (skipped["accuracy_low"] <= 0.5).values)
    assert 0 < sum(hollow) < len(hollow)


def test_the_rank_correlation_of_the_file_is_written(whole):
    titles = [axes.get_title(loc="left") for axes in figures.drift(whole, "drift_cka").axes]
    of_task = whole["rank_correlation"].sel(drift="drift_cka").values
    assert [title.split("\n")[0] for title in titles] == ["cloze", "commonsense", "arithmetic", "arc challenge"]
    for title, value in zip(titles, of_task, strict=True):
        assert title.split("\n")[1] == f"Spearman ρ = {value:.2f} [{value - 0.03:.2f}, {value + 0.02:.2f}]"
    alone = figures.drift(whole.drop_vars(["rank_correlation_low", "rank_correlation_high"]), task="builtin:cloze")
    assert alone.axes[0].get_title(loc="left") == "Spearman ρ = 0.95"
    plain = figures.drift(whole.drop_vars("rank_correlation"), task="builtin:cloze")
    assert plain.axes[0].get_title(loc="left") == ""


def test_drifts_that_span_much_are_logarithmic_on_one_scale(whole):
    cosine, cka = figures.drift(whole), figures.drift(whole, "drift_cka")
    assert {axes.get_xscale() for axes in cosine.axes} == {"linear"}
    assert {axes.get_xscale() for axes in cka.axes} == {"log"}
    assert len({axes.get_xlim() for axes in cosine.axes}) == len({axes.get_xlim() for axes in cka.axes}) == 1


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda s: figures.drift(s, "cosine"), UsageError, "unknown drift 'cosine'"),
        (lambda s: figures.drift(s, task="cloze"), UsageError, "unknown task of this sweep 'cloze'"),
        (
            lambda s: figures.drift(s.drop_vars("drift_cka"), "drift_cka"),
            MeasureError,
            "the sweep holds no drift_cka: sweep again, or draw another of drift_cosine, drift_norm, drift_cka",
        ),
        (
            lambda s: figures.latency(s.isel(run=np.r_[0, runs(s, "reverse")])),
            MeasureError,
            "the sweep holds no finished run of skip or parallel or looped_parallel\n"
            "run layerscope sweep with --variants skip,parallel,looped_parallel",
        ),
    ],
)
def test_refusals(whole, make, error, message):
    with pytest.raises(error) as caught:
        make(whole)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2


@pytest.mark.parametrize(("quantity", "width"), [("normalized", "double"), ("loss", "single"), ("perplexity", 2.5)])
def test_words_of_latency_never_overlap_nor_leave_the_figure(whole, timed, quantity, width):
    assert_readable(figures.latency(whole, quantity, width=width))
    assert_readable(figures.latency(timed, quantity, task="builtin:cloze", width=width))


def test_lines_go_over_stages_and_the_full_model_is_a_diamond(whole):
    figure = figures.latency(whole, "loss", task="builtin:cloze")
    (axes,) = figure.axes
    assert list(lines(axes)) == ["skip", "parallel", "looped parallel ×3"]
    for name, more in (("skip", 0), ("parallel", 1), ("looped parallel ×3", 3)):
        assert lines(axes)[name].get_xdata().tolist() == [30 - affected + more for affected in range(1, 30, 2)]
    assert markers(axes, "full model")[0] == [(30.0, pytest.approx(2.1))]
    assert levels(axes)["full model"] == pytest.approx(2.1)
    assert axes.get_xlabel() == "sequential stages"


def test_measured_time_stands_beside_on_the_same_scale_from_0(timed):
    figure = figures.latency(timed)
    counted, measured = figure.axes
    assert counted.get_ylim() == measured.get_ylim()
    assert measured.get_xlim()[0] == 0.0
    assert list(lines(measured)) == ["skip", "parallel"]
    np.testing.assert_allclose(lines(measured)["skip"].get_xdata(), 2.0 + lines(counted)["skip"].get_xdata())
    np.testing.assert_array_equal(lines(measured)["skip"].get_ydata(), lines(counted)["skip"].get_ydata())
    assert markers(measured, "full model")[0] == [(pytest.approx(32.0), 1.0)]
    assert measured.get_xlabel() == "milliseconds per token"


def test_only_measured_points_are_drawn(timed):
    some = timed.copy(deep=True)
    some["seconds_per_token"][runs(timed, "skip")[3:]] = np.nan
    assert len(lines(figures.latency(some).axes[1])["skip"].get_xdata()) == 3
    some["seconds_per_token"][1:] = np.nan
    assert len(figures.latency(some).axes) == 1
