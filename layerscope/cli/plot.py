"""Command ``layerscope plot``. `layerscope.figures.catalogue` defines its kinds, options and help."""

import inspect
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from layerscope.cli.options import Overwrite
from layerscope.figures.catalogue import FIGURES
from layerscope.figures.figure_kind import FigureKind, Option

__all__ = ["plot"]

_OPTIONS: dict[str, Option] = {option.name: option for kind in FIGURES.values() for option in kind.options}
_KIND: Any = StrEnum("Kind", list(FIGURES))  # type: ignore[misc]


class Width(StrEnum):
    """Widths of figures in a paper."""

    single = "single"
    double = "double"


def plot(
    files: Annotated[
        list[Path], typer.Argument(help="Analysis, sweep, scaling or training file; several for --kind streams.")
    ],
    kind: Annotated[
        str | None,
        typer.Option(metavar="KIND", help="Figure to draw (heatmap or contributions; sweep; scaling; training)."),
    ] = None,
    width: Annotated[Width | None, typer.Option(help="One column of a paper or two.")] = None,
    output: Annotated[Path | None, typer.Option(help="A .pdf, .svg or .png (the file's name, .pdf).")] = None,
    overwrite: Overwrite = False,
    **options: Any,
) -> None:
    """Draw a figure of an analysis, a sweep, a scaling or a training.

    Example: layerscope plot run.nc --kind heatmap --output figure.pdf

    Example: layerscope plot sweep.nc --quantity loss --output sweep.pdf
    """
    from layerscope import figures
    from layerscope.cli.numbers import number_or_auto
    from layerscope.outputs import new_file
    from layerscope.results import read_result

    record = FIGURES[kind or _default_kind(files)]
    _check_files(record, files)
    given = {name: value for name, value in options.items() if value not in (None, [])}
    _check_options(record, given)
    if given.get("segments", "none") != "none":
        given["segments"] = number_or_auto("--segments", given["segments"])
    target = new_file(output or files[0].parent / f"{files[0].stem}-{record.name}.pdf", overwrite, *files)
    results = [read_result(file, record.result) for file in files]
    figure = record.draw(*results, width=str(width or record.width), **given)
    figures.save(figure, target)
    typer.echo(str(target))


def _default_kind(files: Sequence[Path]) -> str:
    """Return the name of the figure to draw where none is named."""
    from layerscope.figures.data.layer_statistics import statistics_of
    from layerscope.results import kind_of, read_analysis
    from layerscope.segmentation.analysis_matrices import pairwise_measures

    if len(files) > 1:
        return "streams"
    kind = str(kind_of(files[0]))
    if kind in FIGURES:
        return kind  # of a sweep, a scaling or a training, named like the file
    result = read_analysis(files[0])
    return "contributions" if statistics_of(result, "block") and not pairwise_measures(result) else "heatmap"


def _check_files(kind: FigureKind, files: Sequence[Path]) -> None:
    """Refuse several files for a kind that draws one."""
    from layerscope.errors import UsageError

    if len(files) > 1 and not kind.several:
        raise UsageError(f"--kind {kind.name} draws one file, {len(files)} are given: name one")


def _check_options(kind: FigureKind, given: Mapping[str, Any]) -> None:
    """Refuse options that do not apply to a kind."""
    from layerscope.errors import UsageError

    names = [option.name for option in kind.options]
    for name in given:
        if name not in names:
            flags = ", ".join(option.flag for option in kind.options) or "no such options"
            raise UsageError(f"{_OPTIONS[name].flag} does not apply to --kind {kind.name}, which takes {flags}")


def _help() -> str:
    """Return the help text, with the kinds of each result before the examples."""
    kinds = [
        f"Figures of {'an' if result == 'analysis' else 'a'} {result}: "
        + "; ".join(f"{kind.name} ({kind.shows})" for kind in FIGURES.values() if kind.result == result)
        for result in dict.fromkeys(kind.result for kind in FIGURES.values())
    ]
    first, *examples = (inspect.getdoc(plot) or "").split("\n\n")
    return "\n\n".join([first, *(f"{one}." for one in kinds), *examples])


def _signature() -> inspect.Signature:
    """Return the signature from which typer makes the options, with a parameter for each option of a kind."""
    signature = inspect.signature(plot)
    files, kind, *others = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
    (text,) = kind.annotation.__metadata__
    options = [
        kind.replace(name=option.name, annotation=Annotated[option.type | None, typer.Option(help=option.help)])
        for option in _OPTIONS.values()
    ]
    return signature.replace(
        parameters=[files, kind.replace(annotation=Annotated[_KIND | None, text]), *options, *others]
    )


plot.__doc__ = _help()
plot.__signature__ = _signature()  # type: ignore[attr-defined]
