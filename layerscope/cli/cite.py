"""``layerscope cite``: BibTeX for the sources of a file."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["cite"]


def cite(file: Annotated[Path, typer.Argument(help="A file that LayerScope made.")]) -> None:
    """Print BibTeX for the measures, model and methods behind a file.

    Example: layerscope cite run.nc
    """
    from layerscope.citing import cite as run

    typer.echo(run(file), nl=False)
