"""The notebooks run, on a small capture, and what is committed was made from what is committed."""

from pathlib import Path

import jupytext
import nbclient
import pytest

from layerscope.capturing.capture import capture
from layerscope.models.loading import wrap_module
from tests.families import tiny_module
from tests.tokenizers import word_tokenizer

ANALYSES = Path(__file__).parent.parent / "analyses"
NOTEBOOKS = sorted(ANALYSES.glob("[0-9]*.py"))


def code(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("script", NOTEBOOKS, ids=lambda path: path.stem)
def test_pair_is_in_step_and_executed(script):
    executed = jupytext.read(script.with_suffix(".ipynb"))
    assert code(executed) == code(jupytext.read(script))
    assert all(cell.execution_count for cell in executed.cells if cell.cell_type == "code")
    assert sum(len(source.splitlines()) for source in code(executed)) < 150


@pytest.mark.parametrize("script", NOTEBOOKS, ids=lambda path: path.stem)
# The kernel's own libraries warn of what LayerScope does not decide: event loops and missing ids of cells.
@pytest.mark.filterwarnings(
    "ignore:::zmq", "ignore:::jupyter_client", "ignore::DeprecationWarning", "ignore::ResourceWarning"
)
@pytest.mark.filterwarnings("ignore::nbformat.warnings.MissingIDFieldWarning")
def test_runs_on_a_small_capture(script, tmp_path, monkeypatch):
    model = wrap_module(tiny_module("llama"), word_tokenizer(), name="tiny")
    capture(model, [f"w{n} w{n + 1} w{n + 2} w7 w8 w9" for n in range(24)], tmp_path / "run.h5")
    monkeypatch.setenv("LAYERSCOPE_RUN", str(tmp_path / "run.h5"))
    notebook = jupytext.read(script)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(ANALYSES)}}).execute()
    assert any(output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs)
