"""``layerscope plot``: a figure of an analysis file."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
    from layerscope.cli.numbers import segment_count
    from layerscope.cli.target import new_file
    from layerscope.measures.files import read_analysis
    from layerscope.structure.selection import segment_measure, similarity_of

    count = None if segments == "none" else segment_count(segments)
    target = new_file(output or analysis.with_name(f"{analysis.stem}-{kind}.pdf"), overwrite)
    result = read_analysis(analysis)
    size = str(width or ("single" if kind is Plot.heatmap else "double"))
    if kind is Plot.panel:
        figure: Figure = figures.panel(result, width=size)
    else:
        within_one = "layer_name_other" not in result.coords
        found = None if count is None or not within_one else segment_measure(result, measure, count)
        if kind is Plot.heatmap:
            similarity_of(result, measure)
            figure = figures.heatmap(result[measure], segments=found, width=size)
        else:
            figure = figures.profile(result, segments=found, width=size)
    figures.save(figure, target)
    typer.echo(str(target))
