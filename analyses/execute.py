"""Execute notebooks from their .py halves and write the .ipynb ones, the same bytes for the same results.

python analyses/execute.py [NOTEBOOK.py …]     all of them, when none is named
"""

import sys
import time
from pathlib import Path

import jupytext
import nbclient
import nbformat

from shelf import DATA, KEPT

HERE = Path(__file__).parent


def notebooks() -> list[Path]:
    """Return the .py halves: the scripts whose names begin with a number."""
    return sorted(HERE.glob("[0-9]*.py"))


def executed(script: Path) -> nbformat.NotebookNode:
    """Run a notebook where its neighbours can be imported."""
    notebook = jupytext.read(script)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"  # else drawn at random
    where = {"metadata": {"path": str(HERE)}}
    nbclient.NotebookClient(notebook, timeout=1800, resources=where, record_timing=False).execute()
    return notebook


def main() -> None:
    """Execute, write, and say how long it took."""
    for script in [Path(name) for name in sys.argv[1:]] or notebooks():
        clock = time.perf_counter()
        # Whole or not at all: a notebook that fails leaves the last one that did not.
        nbformat.write(executed(script), (HERE if DATA == "builtin" else KEPT) / f"{script.stem}.ipynb")
        print(f"{script.name}: {time.perf_counter() - clock:.0f} s", flush=True)


if __name__ == "__main__":
    main()
