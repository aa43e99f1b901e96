"""Execute notebooks from their .py halves and write the .ipynb ones, the same bytes for the same results.

python analyses/execute.py [NOTEBOOK.py …]     all of them, when none is named
"""

import os
import sys
import time
from pathlib import Path

import jupytext
import nbclient
import nbformat

from layerscope.errors import UsageError
from scripts import ended
from notebook_io import DATA, KEPT

HERE = Path(__file__).resolve().parent


def notebooks() -> list[Path]:
    """Return the .py halves: the scripts whose names begin with a number."""
    return sorted(HERE.glob("[0-9]*.py"))


def asked(names: list[str]) -> list[Path]:
    """Return the notebooks of some names, all of them when none is named."""
    for name in names:
        if Path(name).resolve() not in notebooks():
            raise UsageError(f"{name} is no notebook: give .py files of {HERE.name}/ whose names begin with a number")
    return list(map(Path, names)) or notebooks()


def executed(script: Path) -> nbformat.NotebookNode:
    """Run a notebook where its neighbours can be imported."""
    notebook = jupytext.read(script)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"  # else drawn at random
    # Of bars that only a live notebook could show.
    env = os.environ | {"PYTHONWARNINGS": "ignore:IProgress not found"}
    where = {"metadata": {"path": str(HERE)}}
    nbclient.NotebookClient(notebook, timeout=1800, resources=where, record_timing=False).execute(env=env)
    return notebook


def main() -> None:
    """Execute, write, and say how long it took."""
    for script in asked(sys.argv[1:]):
        clock = time.perf_counter()
        # Whole or not at all: a notebook that fails leaves the last one that did not.
        nbformat.write(executed(script), (HERE if DATA == "builtin" else KEPT) / f"{script.stem}.ipynb")
        print(f"{script.name}: {time.perf_counter() - clock:.0f} s", flush=True)


if __name__ == "__main__":
    ended(main)
