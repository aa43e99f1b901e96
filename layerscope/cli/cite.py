"""``layerscope cite``: BibTeX for what made a file."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]

_EXAMPLE = """
Print BibTeX for exactly the measures, models and methods of a capture, an analysis, a sweep or a training file.

Example: layerscope cite run.nc > used.bib
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("cite", help=_EXAMPLE)(cite)


def cite(file: Annotated[Path, typer.Argument(help="A file that LayerScope made.")]) -> None:
    """Parse, call, print."""
    from layerscope.citing import cite as run

    typer.echo(run(file), nl=False)
