"""The notebooks run on results of tiny models, made by the commands of `results.mk`, and match the committed files."""

import json
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jupytext
import pytest

from layerscope.capturing.capture import capture
from layerscope.models.loading import wrap_module
from layerscope.texts.sources import open_texts
from tests.cli.test_commands import run
from tests.evaluation.test_local_tasks import GAPS, PASSAGES, STORIES, SUMS, arc_here, write
from tests.families import tiny_module
from tests.tokenizers import PIECES, piece_tokenizer, word_tokenizer

ROOT = Path(__file__).parent.parent
ANALYSES = ROOT / "analyses"
NOTEBOOKS = sorted(ANALYSES.glob("[0-9]*.py"))
FIRST, FIGURES = NOTEBOOKS[0], NOTEBOOKS[1:]

REDUCED = {"LIMIT": 8, "SEEDS": 2, "LOOPS": "1-3", "LOOPS_LIMIT": 3, "RANGES": "1-7 3-5", "START": 2, "BOOTSTRAP": 20}
REDUCED |= {
    "TEXTS": "--texts builtin:passages --limit 12",
    "WRITTEN_LIMIT": 4,
    "PROBLEMS_LIMIT": 1,
    "PROBLEMS_STARTS": "2",
    "ORDER_STARTS": "1,2",
    "ORDER_LIMIT": 8,
    "DRAWS": 50,
    "WINDOW": 3,
    "WINDOW_TEXTS": 2,
    "FAMILY": "depth-02 depth-03",
    "FAMILY_SIZES": "--depths 2,3 --steps 4 --width 16 --length 256 --batch 1",
}
"""The sizes of `results.mk`, for models of four and eight blocks."""


def commands(**variables: object) -> list[list[str]]:
    """Return the commands that `make` would run."""
    given = [f"{name}={value}" for name, value in variables.items()]
    # As from a shell: a make that runs the tests passes its flags and level on, and a nested make prints its folder.
    own = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    command = ["make", "--dry-run", "-f", "analyses/results.mk", *given]
    printed = subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True, check=True)
    return [shlex.split(line) for line in printed.stdout.replace("\\\n", " ").splitlines()]


def benchmark_files(folder: Path) -> Path:
    """Write a few own questions in the layout of the real benchmarks."""
    folder.mkdir()
    rows = {"lambada/lambada_openai_test": PASSAGES, "hellaswag/validation": STORIES, "winogrande/dev": GAPS}
    rows |= {"gsm8k/train": SUMS, "gsm8k/test": SUMS}
    for path, some in (rows | dict.fromkeys(("arc_easy/test", "arc_challenge/test"), arc_here())).items():
        write(folder / f"{path}.jsonl", [row for row in some for _ in range(4)], packed="lambada" in path)
    (folder / "text").mkdir()
    passages = (text.text for text in open_texts("builtin:passages"))
    (folder / "text" / "wikitext2_raw_test.txt").write_text("\n".join(passages), encoding="utf-8")
    return folder


@pytest.fixture(scope="module", params=["builtin", "benchmarks"])
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Make all results by the commands of `results.mk`, on either kind of data; return their folder."""
    place = tmp_path_factory.mktemp("analyses")
    data = benchmark_files(place / "data") if request.param == "benchmarks" else ""
    small = {}
    for name, family, depth in (("SMOLLM2", "llama", 8), ("GEMMA3", "gemma3_text", 4), ("MINILM", "bert", 4)):
        module = tiny_module(family, vocab_size=PIECES, max_position_embeddings=512, num_hidden_layers=depth)
        module.save_pretrained(place / family)
        piece_tokenizer().save_pretrained(place / family)
        small[name] = place / family
    made = place / request.param
    given = {"LAYERSCOPE": "layerscope", "PYTHON": "python", "LAYERSCOPE_DATA": data, "MADE": made} | small | REDUCED
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAYERSCOPE_DATA", str(data))
        for command in commands(**given):
            carry_out(command)
        yield made


def carry_out(command: list[str]) -> None:
    """Run a command of `results.mk`, in this process if it is ours."""
    match command:
        case ["layerscope", "demo"]:
            pass  # needs the real model; the test of the first notebook covers its output
        case ["mkdir" | "touch", *_]:
            subprocess.run(command, check=True)
        case ["layerscope", *arguments]:
            run(*arguments, cwd=ROOT)
        case ["python", script, *arguments]:
            with pytest.MonkeyPatch.context() as patch:
                patch.syspath_prepend(str(ANALYSES))
                patch.setattr(sys, "argv", [script, *arguments])
                runpy.run_path(str(ROOT / script), run_name="__main__")
        case other:
            pytest.fail(f"this test does not know the command {other} of results.mk")


def code(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("script", NOTEBOOKS, ids=lambda path: path.stem)
def test_pair_is_in_step_and_executed(script):
    executed = jupytext.read(script.with_suffix(".ipynb"))
    assert code(executed) == code(jupytext.read(script))
    assert all(cell.execution_count for cell in executed.cells if cell.cell_type == "code")
    assert sum(len(source.splitlines()) for source in code(executed)) < 150


@pytest.mark.parametrize(
    "notebook", sorted(ANALYSES.rglob("*.ipynb")), ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_nothing_in_a_notebook_is_of_the_machine_it_ran_on(notebook):
    cells = [cell for cell in jupytext.read(notebook).cells if cell.cell_type == "code"]
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.get("name") == "stderr"], "warnings, which carry paths"
    assert not re.search(r"(?<![\w./<])/(home|root|tmp|work|Users|mnt|opt)/", json.dumps(outputs))


# The libraries of the kernel warn about event loops and missing cell ids, which LayerScope does not control.
@pytest.mark.filterwarnings(
    "ignore:::zmq", "ignore:::jupyter_client", "ignore::DeprecationWarning", "ignore::ResourceWarning"
)
@pytest.mark.filterwarnings("ignore::nbformat.warnings.MissingIDFieldWarning")
def test_first_notebook_runs_in_a_kernel(tmp_path, monkeypatch):
    model = wrap_module(tiny_module("llama"), word_tokenizer(), name="tiny")
    capture(model, [f"w{n} w{n + 1} w{n + 2} w7 w8 w9" for n in range(24)], tmp_path / "run.h5")
    monkeypatch.setenv("LAYERSCOPE_RUN", str(tmp_path / "run.h5"))
    monkeypatch.syspath_prepend(str(ANALYSES))
    executed = runpy.run_path(str(ANALYSES / "execute.py"))["executed"]
    notebook = executed(FIRST)
    assert any(output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs)


@pytest.mark.parametrize("script", FIGURES, ids=lambda path: path.stem)
def test_figure_is_made_from_results_of_its_commands(script, results, tmp_path, monkeypatch):
    # As a script in this process, because a kernel takes seconds to start.
    monkeypatch.setenv("LAYERSCOPE_MADE", str(results))
    monkeypatch.setenv("LAYERSCOPE_KEPT", str(tmp_path))
    monkeypatch.syspath_prepend(str(ANALYSES))
    for name in ("notebook_io", "resampling"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    runpy.run_path(str(script))
    for name in ("notebook_io", "resampling"):
        sys.modules.pop(name, None)
    kept = {path.suffix for path in tmp_path.glob(f"{script.stem}*")}
    assert kept == {".pdf", ".png", ".csv"}
    there = (ANALYSES / "results" / results.name).glob(f"{script.stem}*")
    committed = {path.name for path in there if path.suffix != ".ipynb"}
    assert {path.name for path in tmp_path.iterdir()} == committed, "the committed files are those that it makes"


def test_findings_quote_the_committed_results(monkeypatch):
    monkeypatch.syspath_prepend(str(ANALYSES))
    quote = runpy.run_path(str(ANALYSES / "quote.py"))
    page = quote["PAGE"].read_text(encoding="utf-8")
    assert page.count('<b title="') > 20
    assert quote["quoted"](page) == page, "run python analyses/quote.py"
