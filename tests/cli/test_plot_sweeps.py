"""``layerscope plot`` on sweep files, as a user meets it."""

import pytest
import xarray

from layerscope.results import write_result
from tests.cli.test_commands import run
from tests.figures.sweeps import specs, synthetic


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a sweep and an analysis."""
    place = tmp_path_factory.mktemp("sweeps")
    schedules = [*specs(8, seeds=2, loops=(1, 3)), "drop:1", "drop:2", "swap:1"]
    write_result(synthetic(schedules, tasks=["builtin:cloze", "builtin:order"], depth=8), place / "sweep.nc")
    write_result(synthetic(["identity", "skip:2"], depth=8), place / "small.nc")
    layers = xarray.DataArray([[1.0, 0.5], [0.5, 1.0]], dims=("layer", "layer_other"))
    analysis = xarray.Dataset({"cosine": layers}, attrs={"provenance": "{}"})
    analysis.to_netcdf(place / "run.nc", engine="h5netcdf")
    return place


@pytest.mark.parametrize("kind", ["sweep", "tasks", "single", "loops", "drift", "stages", "latency"])
def test_every_kind(place, tmp_path, kind):
    for width in ("single", "double"):
        target = tmp_path / f"{width}.svg"
        run("plot", "sweep.nc", "--kind", kind, "--width", width, "--output", target, cwd=place)
        assert target.read_text().startswith("<?xml")
    inches = {'width="239.76pt"': "single", 'width="496.8pt"': "double"}
    assert [inches[mark] for mark in inches if mark in (tmp_path / f"{inches[mark]}.svg").read_text()] == [
        "single",
        "double",
    ]


def test_a_file_tells_its_kind_itself(place):
    assert run("plot", "sweep.nc", cwd=place).stdout.strip() == "sweep-sweep.pdf"
    assert run("plot", "run.nc", "--segments", "none", cwd=place).stdout.strip() == "run-heatmap.pdf"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--quantity", "loss", "--task", "builtin:order"], ["loss (nats per token)"]),
        (["--kind", "tasks", "--variant", "reverse"], [">reverse<", "cloze", "order"]),
        (["--loops", "1"], ["looped parallel ×1"]),
        (["--kind", "drift", "--drift", "drift_norm"], ["relative norm"]),
    ],
)
def test_options_reach_the_figure(place, tmp_path, options, words):
    run("plot", "sweep.nc", *options, "--output", tmp_path / "figure.svg", cwd=place)
    content = (tmp_path / "figure.svg").read_text(encoding="utf-8")
    assert [word for word in words if word not in content] == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (
            ["sweep.nc", "--segments", "3"],
            2,
            "--segments does not apply to --kind sweep, which takes --quantity, --task, --loops",
        ),
        (["run.nc", "--task", "builtin:cloze"], 2, "--task does not apply to --kind heatmap"),
        (["sweep.nc", "--quantity", "los"], 2, "did you mean 'loss'?"),
        (["sweep.nc", "--kind", "drift", "--drift", "drift_cos"], 2, "did you mean 'drift_cosine'?"),
        (["small.nc", "--kind", "single"], 1, "run layerscope sweep with --variants drop,swap"),
        (["small.nc", "--kind", "loops"], 1, "--variants looped_parallel --loops 1-28"),
        (["run.nc", "--kind", "sweep"], 1, "run.nc is no sweep file"),
        (["sweep.nc", "--kind", "heatmap"], 1, "sweep.nc is no analysis file"),
        (["missing.nc"], 1, "missing.nc: there is no such file"),
    ],
)
def test_what_goes_wrong_is_said_in_two_lines_and_nothing_is_left(place, arguments, code, words):
    before = sorted(place.iterdir())
    done = run("plot", *arguments, "--output", "new.pdf", cwd=place, code=code)
    assert words in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert sorted(place.iterdir()) == before
