"""``layerscope scaling``: compare the beginning, middle and ending layers of several models."""

import json
from pathlib import Path
from typing import Annotated

import typer

from layerscope.cli.options import Json, Overwrite

__all__ = ["scaling"]


def scaling(
    analyses: Annotated[list[Path], typer.Argument(help="Analysis files of at least two models.")],
    measure: Annotated[str | None, typer.Option(help="Similarity measure (all that every analysis contains).")] = None,
    output: Annotated[Path | None, typer.Option(help="Scaling file to write (none).")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Compare the beginning, middle and ending layers of several models.

    Give one analysis a model, made with --bootstrap. Analyses of one model with
    --exclude-first 0 and 1 are combined.

    Example: layerscope scaling small.nc large.nc --output scaling.nc
    """
    from layerscope.cross_model.scaling import scaling as compare_models
    from layerscope.cross_model.scaling_report import scaling_as_dict, scaling_as_lines
    from layerscope.outputs import new_file
    from layerscope.results import write_result

    target = None if output is None else new_file(output, overwrite, *analyses)
    dataset = compare_models(analyses, measure=measure, progress=True)
    if target is not None:
        write_result(dataset, target)
    if as_json:
        typer.echo(json.dumps(scaling_as_dict(dataset), ensure_ascii=False, allow_nan=False))
        return
    for line in scaling_as_lines(dataset):
        typer.echo(line)
    if target is not None:
        typer.echo(str(target))
