"""Write the gallery, and copy the executed notebooks with their figures into the documentation."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

from layerscope.figures.catalogue import FIGURES
from layerscope.figures.figure_kind import FigureKind

DOCS = Path(__file__).parent
ANALYSES = DOCS.parent / "analyses"
KEPT = ANALYSES / "results" / "builtin"
COPIES = DOCS / "notebooks"
THUMBNAILS = DOCS / "images" / "gallery"

_LINK = re.compile(r"\]\((\d\d_\w+)\.ipynb\)")  # from one notebook to another


# Commands that make the data of a figure kind, or of all kinds of a result.
_DATA = {
    "analysis": "layerscope analyze run.h5 --bootstrap 200 --output run.nc",
    "contributions": "layerscope analyze streams.h5 --bootstrap 200 \\\n"
    "  --measures attn_ratio,mlp_ratio,update_ratio,attn_cosine,mlp_cosine,update_cosine --output blocks.nc",
    "streams": "\n".join(
        f"layerscope analyze streams.h5 --stream {stream} --measures cosine --output {stream}.nc"
        for stream in ("resid", "attn", "mlp")
    ),
    "match": "layerscope analyze small.h5 other.h5 --measures cka --bootstrap 50 --output between.nc",
    "training": "layerscope training step*.h5 --measure cka --output training.nc",
    "scaling": "layerscope scaling small.nc medium.nc large.nc --output scaling.nc",
    "sweep": "layerscope sweep $MODEL --task builtin:cloze --task builtin:commonsense --variants all --output sweep.nc",
    "single": "layerscope sweep $MODEL --task builtin:cloze --task builtin:commonsense --variants drop,swap --output single.nc",
    "loops": "layerscope sweep $MODEL --task builtin:cloze --variants looped_parallel --loops 1-8 --output loops.nc",
}

_OPENING = """---
hide:
  - toc
---

# Gallery

Find the figure you need and copy the command that draws it. `$MODEL` is any [model](guide.md#models);
`run.h5` is a [capture](quickstart.md) of it, `streams.h5` one with
[`--streams resid,attn,mlp`](how-to/look-inside-a-block.md). Every command writes a `.pdf`; `--output`
takes `.svg` and `.png` too.
The thumbnails show SmolLM2-135M-Instruct with few examples; `training` shows a small model trained for 600 steps.

## Figure kinds"""

_NOTEBOOKS = """## The paper's figures

Each notebook computes a figure of [Transformer Layers as Painters](https://arxiv.org/abs/2407.09298) again and compares
it with the paper. [Findings](findings.md) summarises the results. `make analyses` makes everything: results by plain
`layerscope` commands ([results.mk](notebooks/results.mk)), then the notebooks. It resumes after an interruption and
takes about an hour on two cores. With the results in place, one command executes one notebook.

`make analyses LAYERSCOPE_DATA=FOLDER` uses LAMBADA, ARC, HellaSwag, WinoGrande and GSM8K from a folder of yours."""


def gallery_page() -> str:
    """Return the page of all figure kinds that have a thumbnail, and of all notebooks, each with its commands."""
    kinds = [
        _cell(kind.name, f"images/gallery/{kind.name}.png", f"{kind.shows}.", plot_commands(kind))
        for kind in FIGURES.values()
        if (THUMBNAILS / f"{kind.name}.png").exists()
    ]
    notebooks = [_notebook_cell(path) for path in figure_notebooks()]
    return "\n\n".join([_OPENING, _grid(kinds), _NOTEBOOKS, _grid(notebooks)]) + "\n"


def plot_commands(kind: FigureKind) -> str:
    """Return the command that makes the data of a figure, and the one that draws it."""
    data = _DATA.get(kind.name, _DATA[kind.result])
    return f"{data}\n{kind.command.replace(f'{kind.result}.nc', data.split()[-1])}"


def _grid(cells: list[str]) -> str:
    return '<div class="gallery" markdown="1">\n\n' + "\n\n".join(cells) + "\n\n</div>"


def _cell(title: str, picture: str, shows: str, commands: str, link: str = "") -> str:
    """Return one cell of the grid: picture, title, a sentence and the command."""
    heading = f"[**{title}**]({link})" if link else f"**{title}**"
    lines = [f"[![{title}: {shows}]({picture})]({link or picture})", f"{heading}: {shows}", f"```sh\n{commands}\n```"]
    return '<div markdown="1">\n\n' + "\n\n".join(lines) + "\n\n</div>"


def _notebook_cell(path: Path) -> str:
    title = _title(json.loads(path.read_text(encoding="utf-8")))
    name, _, shows = title.partition(": ")
    picture, command = (
        f"{COPIES.name}/{_first_figure(path).name}",
        f"python analyses/execute.py analyses/{path.stem}.py",
    )
    return _cell(name, picture, shows, command, f"{COPIES.name}/{path.name}")


def figure_notebooks() -> list[Path]:
    """Return the executed notebooks of figures: all but the first, which is an introduction."""
    return sorted(ANALYSES.glob("[0-9]*.ipynb"))[1:]


def copy_notebooks() -> None:
    """Copy the notebooks, their figures and the list of commands into the documentation."""
    shutil.rmtree(COPIES, ignore_errors=True)
    COPIES.mkdir()
    for notebook in sorted(ANALYSES.glob("[0-9]*.ipynb")):
        (COPIES / notebook.name).write_text(_for_a_page(notebook.read_text(encoding="utf-8")), encoding="utf-8")
    for figure in KEPT.glob("*.png"):
        shutil.copy(figure, COPIES)
    shutil.copy(ANALYSES / "results.mk", COPIES)


def _first_figure(notebook: Path) -> Path:
    return min(KEPT.glob(f"{notebook.stem}*.png"), key=lambda path: (len(path.stem), path.stem))


def _title(notebook: dict[str, Any]) -> str:
    """Return the title of a notebook, its first heading."""
    return "".join(notebook["cells"][0]["source"]).split("\n")[0].removeprefix("# ")


def _scripts_named(source: str) -> str:
    """Name scripts where a notebook links them: the site has no page for them."""
    return re.sub(r"\[([\w.]+\.py)\]\(\1\)", r"`analyses/\1`", source)


def _for_a_page(notebook: str) -> str:
    """Return an executed notebook with its links and outputs adapted to the site.

    xarray's folding form becomes its plain one, and links to other notebooks lead to their pages.
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
