"""One record a figure kind: the package, the command and these tests read it."""

import inspect
import shlex
import subprocess
import sys

import pytest

from layerscope import figures
from layerscope.figures.catalogue import FIGURES
from layerscope.results import KINDS, write_result
from tests.cli.test_commands import run
from tests.figures.drawing import cosines, statistics
from tests.figures.sweeps import specs, synthetic
from tests.figures.test_contributions import blocks
from tests.figures.test_match import compared
from tests.figures.test_scaling import found
from tests.figures.test_training import trained


def test_the_public_functions_are_those_of_the_table():
    assert set(figures.__all__) == {*FIGURES, "save"} == set(dir(figures))
    assert {kind.result for kind in FIGURES.values()} == set(KINDS)
    for name, kind in FIGURES.items():
        assert kind.function is getattr(figures, name)
        assert kind.function.__module__ == f"layerscope.figures.kinds.{name}"


@pytest.mark.parametrize("kind", FIGURES.values(), ids=list(FIGURES))
def test_options_and_default_width_are_those_of_the_function(kind):
    parameters = inspect.signature(kind.function).parameters
    assert parameters["width"].default == kind.width
    if not kind.from_file:
        assert {option.name for option in kind.options} <= set(parameters)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a file of each kind of result, and one with an analysis between two captures."""
    place = tmp_path_factory.mktemp("results")
    (place / "between").mkdir()
    schedules = [*specs(8, seeds=2, loops=(1, 3)), "drop:1", "drop:2", "swap:1"]
    analysis = cosines([2, 5, 2]).merge(statistics(9)).merge(blocks(8)).assign_attrs(provenance="{}")
    for stream in ("resid", "attn", "mlp"):
        write_result(analysis.assign_attrs(stream=stream), place / f"{stream}.nc")
    write_result(analysis, place / "analysis.nc")
    write_result(compared(9, 5).assign_attrs(provenance="{}", alignment="tokens"), place / "between" / "analysis.nc")
    write_result(synthetic(schedules, tasks=["builtin:cloze", "builtin:order"], depth=8), place / "sweep.nc")
    write_result(found(), place / "scaling.nc")
    steps = trained(5, 9).assign_coords(model=("checkpoint", list("abcde")))
    write_result(steps.assign_attrs(provenance="{}", model="m"), place / "training.nc")
    return place


@pytest.mark.parametrize("kind", FIGURES.values(), ids=list(FIGURES))
def test_every_example_command_runs(kind, files, tmp_path):
    program, *arguments = shlex.split(kind.command)
    assert program == "layerscope"
    place = files / "between" if kind.name == "match" else files
    run(*arguments, "--output", tmp_path / "figure.svg", cwd=place)
    assert (tmp_path / "figure.svg").read_text().startswith("<?xml")


TOY = """
import sys
import types
from layerscope.figures.catalogue import FIGURES
from layerscope.figures.figure_kind import FigureKind, Option

module = types.ModuleType("layerscope.figures.kinds.norms")
exec('''
import numpy as np
from layerscope.figures.parts.grid import make_grid
from layerscope.figures.parts.style import inches, styled

@styled
def norms(result, power=1, *, width="single"):
    grid = make_grid(inches(width), [f"norm to the power {power}"])
    grid.places[0].plot(result["layer"], result["norm"] ** power)
    return grid.figure
''', module.__dict__)
sys.modules[module.__name__] = module
power = Option("power", "Power of the norm (1).", int)
FIGURES["norms"] = FigureKind("norms", "analysis", "the norm of each layer", (power,), width="single")

from layerscope import figures
from layerscope.cli import main
assert figures.norms is module.norms
sys.argv = ["layerscope", *sys.argv[1:]]
main()
"""


def test_a_new_kind_takes_a_module_and_a_record(files, tmp_path):
    def toy(*arguments):
        command = [sys.executable, "-c", TOY, "plot", *arguments]
        return subprocess.run(command, cwd=files, capture_output=True, text=True, check=False)

    target = tmp_path / "norms.svg"
    done = toy("analysis.nc", "--kind", "norms", "--power", "2", "--output", target)
    assert (done.returncode, done.stderr) == (0, "")
    assert "norm to the power 2" in target.read_text(encoding="utf-8")
    refused = toy("sweep.nc", "--power", "2", "--output", tmp_path / "no.svg")
    assert refused.returncode == 2
    assert "--power does not apply to --kind sweep" in refused.stderr
    shown = toy("--help")
    assert "norms (the norm of each layer)" in " ".join(shown.stdout.split())
    assert "--power" in shown.stdout


def test_segments_are_framed_in_a_panel_on_request(files, tmp_path):
    for name, options in (("plain", []), ("framed", ["--segments", "3"])):
        run("plot", "analysis.nc", "--kind", "panel", *options, "--output", tmp_path / f"{name}.svg", cwd=files)
    plain, framed = ((tmp_path / f"{name}.svg").read_text() for name in ("plain", "framed"))
    assert framed.count("<path") > plain.count("<path")
