"""The notebooks for the documentation: copied as they were executed, and a gallery of them."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
ANALYSES = DOCS.parent / "analyses"
KEPT = ANALYSES / "results" / "builtin"
COPIES = DOCS / "notebooks"

_LINK = re.compile(r"\]\((\d\d_\w+)\.ipynb\)")  # of one notebook to another

_OPENING = """# The paper's figures again

Every figure of [Transformer Layers as Painters](https://arxiv.org/abs/2407.09298), made anew on models at hand and stated
in words, where it agrees and where it does not. All numbers side by side: [Findings](findings.md).

    make analyses

makes all of them from nothing: results by plain `layerscope` commands, written down in [results.mk](notebooks/results.mk),
then the notebooks, which read the results. It goes on where it was interrupted, and keeps what is there. On two
free cores it took 66 minutes from a fresh clone, installation included; beside other
work it has taken twice as long. One file with what it needs: `make -f analyses/results.mk cache/analyses/builtin/loops.nc`.
The models come through the Python package index: SmolLM2-135M-Instruct (30 blocks), and beside it Gemma 3 270M
(18) and MiniLM-L6 (6).

What is shown was made on the texts and tasks that come with LayerScope. `make analyses LAYERSCOPE_DATA=FOLDER` takes
LAMBADA, ARC, HellaSwag, WinoGrande and GSM8K from a folder of yours, laid out as `analyses/tasks/*.yaml` say, and keeps its
results beside these."""


def gallery_page() -> str:
    """Return the page of all notebooks: of each its title, what it is about, and its first figure."""
    parts = [_OPENING]
    for path in figure_notebooks():
        title, about = _heading(json.loads(path.read_text(encoding="utf-8")))
        link, picture = f"notebooks/{path.stem}.ipynb", f"notebooks/{_first_figure(path).name}"
        parts.append(f"## [{title}]({link})\n\n{about}\n\n[![{title}]({picture}){{ width=480 }}]({link})")
    return "\n\n".join(parts) + "\n"


def figure_notebooks() -> list[Path]:
    """Return the executed notebooks of figures: all but the first, which is an introduction."""
    return sorted(ANALYSES.glob("[0-9]*.ipynb"))[1:]


def copy_notebooks() -> None:
    """Copy the notebooks, their first pictures and the list of commands into the documentation."""
    shutil.rmtree(COPIES, ignore_errors=True)
    COPIES.mkdir()
    for notebook in sorted(ANALYSES.glob("[0-9]*.ipynb")):
        (COPIES / notebook.name).write_text(_for_a_page(notebook.read_text(encoding="utf-8")), encoding="utf-8")
    for path in figure_notebooks():
        shutil.copy(_first_figure(path), COPIES)
    shutil.copy(ANALYSES / "results.mk", COPIES)


def _first_figure(notebook: Path) -> Path:
    return min(KEPT.glob(f"{notebook.stem}*.png"), key=lambda path: (len(path.stem), path.stem))


def _heading(notebook: dict[str, Any]) -> tuple[str, str]:
    """Return title and first paragraph, as a page beside the folder of notebooks links them."""
    title, about, *_ = "".join(notebook["cells"][0]["source"]).split("\n\n")
    about = _LINK.sub(rf"]({COPIES.name}/\1.ipynb)", " ".join(about.split("\n")))
    return title.removeprefix("# "), _scripts_named(about)


def _scripts_named(source: str) -> str:
    """Name scripts where a notebook links them: the site has no page of theirs."""
    return re.sub(r"\[([\w.]+\.py)\]\(\1\)", r"`analyses/\1`", source)


def _for_a_page(notebook: str) -> str:
    """Keep a notebook as it was executed, but for what a page cannot show.

    xarray's folding form becomes its plain one, and links to neighbours lead to their pages; scripts are named, not linked.
    """
    content = json.loads(notebook)
    for cell in content["cells"]:
        if cell["cell_type"] == "markdown":
            source = "".join(cell["source"])
            source = re.sub(r"\]\(\.\./docs/([\w-]+)\.md\)", r"](../\1.html)", source)
            source = _LINK.sub(r"](\1.html)", source)
            cell["source"] = _scripts_named(source)
        for output in cell.get("outputs", []):
            if "xr-wrap" in "".join(output.get("data", {}).get("text/html", [])):
                del output["data"]["text/html"]
    return json.dumps(content)
