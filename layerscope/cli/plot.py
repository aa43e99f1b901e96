"""``layerscope plot``: a figure of an analysis file."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]

_EXAMPLE = """
Draw an analysis: a heatmap with its segments, the four similarities side by side, or the statistics along the layers.

Example: layerscope plot run.nc --kind heatmap --measure cosine --output figure.pdf
"""


class Plot(StrEnum):
    """Kinds of figures."""

    heatmap = "heatmap"
    panel = "panel"
    profile = "profile"


class Width(StrEnum):
    """Widths of figures in a paper."""

    single = "single"
    double = "double"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("plot", help=_EXAMPLE)(plot)


def plot(
    analysis: Annotated[Path, typer.Argument(help="An analysis file.")],
    kind: Annotated[Plot, typer.Option(help="What to draw.")] = Plot.heatmap,
    measure: Annotated[str, typer.Option(help="The matrix of the heatmap.")] = "cosine",
    segments: Annotated[str, typer.Option(help="Segments to draw: a number, auto, or none.")] = "3",
    width: Annotated[Width | None, typer.Option(help="One column of a paper or two.")] = None,
    output: Annotated[Path | None, typer.Option(help="A .pdf, .svg or .png (the analysis's name, .pdf).")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Parse, call, print."""
    from layerscope import figures
    from layerscope.cli.target import new_file
    from layerscope.measures.files import read_analysis

    target = new_file(output or analysis.with_name(f"{analysis.stem}-{kind}.pdf"), overwrite)
    result = read_analysis(analysis)
    options = {} if width is None else {"width": str(width)}
    if kind is Plot.heatmap:
        figure = figures.heatmap(result[_checked(result, measure)], segments=_segments(result, measure, segments), **options)
    elif kind is Plot.panel:
        figure = figures.panel(result, **options)
    else:
        figure = figures.profile(result, **options)
    figures.save(figure, target)
    typer.echo(str(target))
