"""Execute the notebooks' .py files and write the .ipynb files, reproducibly to the byte.

python analyses/execute.py [NOTEBOOK.py …]     all notebooks by default
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
    """Return the .py files of the notebooks: their names start with a number."""
    return sorted(HERE.glob("[0-9]*.py"))


def selected(names: list[str]) -> list[Path]:
    """Return the notebooks with these names; all by default."""
    for name in names:
        if Path(name).resolve() not in notebooks():
            raise UsageError(
                f"{name} is not a notebook: give .py files of {HERE.name}/ whose names begin with a number"
            )
    return list(map(Path, names)) or notebooks()


def executed(script: Path) -> nbformat.NotebookNode:
    """Run a notebook in this folder, so that it can import its modules."""
    notebook = jupytext.read(script)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"  # otherwise random
    # Progress bars need a live notebook.
    env = os.environ | {"PYTHONWARNINGS": "ignore:IProgress not found"}
    where = {"metadata": {"path": str(HERE)}}
    nbclient.NotebookClient(notebook, timeout=1800, resources=where, record_timing=False).execute(env=env)
    return notebook


def main() -> None:
    """Execute the notebooks, write them, and print the time."""
    for script in selected(sys.argv[1:]):
        clock = time.perf_counter()
        # Written only after success: a notebook that fails keeps its last output.
        nbformat.write(executed(script), (HERE if DATA == "builtin" else KEPT) / f"{script.stem}.ipynb")
        print(f"{script.name}: {time.perf_counter() - clock:.0f} s", flush=True)


if __name__ == "__main__":
    ended(main)
