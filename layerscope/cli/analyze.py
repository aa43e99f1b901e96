"""``layerscope analyze``: measures of one capture, or between two."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]

_EXAMPLE = """
Measure how alike the layers of a capture are, or those of two captures of the same texts. Two models of different
tokenizers are compared where their tokens end at the same character, if both were captured with --spans.

Example: layerscope analyze run.h5 --measures cosine,cka,variance --bootstrap 200 --output run.nc

Example: layerscope analyze small.h5 large.h5 --measures cka,procrustes --align spans --output between.nc

Example: layerscope analyze run.h5 --exclude-first 1 --measures cka --null 20 --ceiling 10 --output chance.nc
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("analyze", help=_EXAMPLE)(analyze)


def analyze(
    capture: Annotated[Path, typer.Argument(help="A capture file.")],
    other: Annotated[Path | None, typer.Argument(help="A second capture of the same texts.")] = None,
    measures: Annotated[str | None, typer.Option(help="Names, comma between (see: layerscope list measures).")] = None,
    align: Annotated[
        str,
        typer.Option(help="Pair the tokens of two captures by tokens, by spans, or auto: the first that is possible."),
    ] = "auto",
    exclude_first: Annotated[int, typer.Option(help="Leave out the first so many tokens of each sequence.")] = 0,
    bootstrap: Annotated[int, typer.Option(help="Replicates over sequences, for 95 % intervals.")] = 0,
    null: Annotated[int, typer.Option(help="Random pairings of the tokens, for what value chance gives.")] = 0,
    ceiling: Annotated[int, typer.Option(help="Random splits into halves, for ceilings and reliability.")] = 0,
    memory: Annotated[str, typer.Option(help="Budget of measures that hold many states at once.")] = "4GB",
    seed: Annotated[int, typer.Option(help="Seed of every draw.")] = 0,
    output: Annotated[Path | None, typer.Option(help="The analysis file (the capture's name with .nc).")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Parse, call, print."""
    from layerscope.measures.analysis import analyze as run
    from layerscope.measures.derived import is_derived
    from layerscope.measures.files import write_analysis
    from layerscope.outputs import new_file

    target = new_file(output or capture.with_suffix(".nc"), overwrite)
    names = None if measures is None else [name.strip() for name in measures.split(",")]
    result = run(
        capture,
        other,
        measures=names,
        align=align,
        exclude_first=exclude_first,
        bootstrap=bootstrap,
        null=null,
        ceiling=ceiling,
        memory=memory,
        seed=seed,
        progress=True,
    )
    write_analysis(result, target)
    if warning := result.attrs.get("massive_warning"):
        typer.echo(f"warning: {warning}", err=True)
    measured = [str(name) for name in result.data_vars if not is_derived(name) and "rank" not in result[name].dims]
    typer.echo(f"{target}: {', '.join(measured)}")
