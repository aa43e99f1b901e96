"""``layerscope plot``: a figure of an analysis, of a scaling, of a training or of a sweep."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from xarray import Dataset

    from layerscope.segmentation.segmentation import Segmentation

__all__ = ["plot"]


class Plot(StrEnum):
    """Kinds of figures."""

    heatmap = "heatmap"
    panel = "panel"
    profile = "profile"
    match = "match"
    training = "training"
    scaling = "scaling"
    sweep = "sweep"
    tasks = "tasks"
    single = "single"
    loops = "loops"
    drift = "drift"
    stages = "stages"
    latency = "latency"


class Width(StrEnum):
    """Widths of figures in a paper."""

    single = "single"
    double = "double"


_OPTIONS: dict[Plot, tuple[str, ...]] = {
    Plot.heatmap: ("measure", "segments"),
    Plot.panel: ("measure", "segments"),
    Plot.profile: ("measure", "segments"),
    Plot.match: ("measure",),
    Plot.training: (),
    Plot.scaling: ("measure", "exclude_first"),
    Plot.sweep: ("quantity", "task", "loops"),
    Plot.tasks: ("quantity", "variant", "loops"),
    Plot.single: ("quantity", "task"),
    Plot.loops: ("quantity", "task"),
    Plot.drift: ("drift", "task"),
    Plot.stages: ("schedule", "task"),
    Plot.latency: ("quantity", "task", "loops"),
}
_ANALYSES = (Plot.heatmap, Plot.panel, Plot.profile, Plot.match)
_NARROW = (Plot.heatmap, Plot.match, Plot.loops)


def plot(
    file: Annotated[Path, typer.Argument(help="An analysis, a sweep, or what scaling or training made.")],
    kind: Annotated[Plot | None, typer.Option(help="What to draw (heatmap; sweep; scaling; training).")] = None,
    measure: Annotated[str | None, typer.Option(help="The matrix to draw (cosine; of a match, cka).")] = None,
    segments: Annotated[str | None, typer.Option(help="Segments to draw: a number, auto, or none (3).")] = None,
    exclude_first: Annotated[
        int | None, typer.Option(help="Of a scaling: which reading, by the tokens left out at each start (the fewest).")
    ] = None,
    quantity: Annotated[
        str | None,
        typer.Option(
            help="Of a sweep: normalized, loss, loss_difference, accuracy, perplexity; of a fine-tuning: score."
        ),
    ] = None,
    task: Annotated[str | None, typer.Option(help="One task of a sweep (all, or their median).")] = None,
    variant: Annotated[str | None, typer.Option(help="One variant, for --kind tasks (all).")] = None,
    loops: Annotated[int | None, typer.Option(help="Which looped parallel of a sweep with several (3).")] = None,
    drift: Annotated[
        str | None, typer.Option(help="drift_cosine, drift_norm or drift_cka, for --kind drift (drift_cosine).")
    ] = None,
    schedule: Annotated[
        list[str] | None,
        typer.Option(help="A run of the sweep, for --kind stages; may be repeated (skip and middle_repeat)."),
    ] = None,
    width: Annotated[Width | None, typer.Option(help="One column of a paper or two.")] = None,
    output: Annotated[Path | None, typer.Option(help="A .pdf, .svg or .png (the file's name, .pdf).")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Draw a figure of an analysis, a scaling, a training or a sweep.

    Example: layerscope plot run.nc --kind heatmap --output figure.pdf

    Example: layerscope plot sweep.nc --quantity loss --output sweep.pdf
    """
    from layerscope import figures
    from layerscope.outputs import new_file

    chosen = kind or _kind_for(file)
    given = {
        "measure": measure,
        "segments": segments,
        "exclude_first": exclude_first,
        "quantity": quantity,
        "task": task,
        "variant": variant,
        "loops": loops,
        "drift": drift,
        "schedule": schedule or None,
    }
    options = _fitting(chosen, given)
    size = str(width or ("single" if chosen in _NARROW else "double"))
    target = new_file(output or file.parent / f"{file.stem}-{chosen}.pdf", overwrite, file)
    draw = _DRAWN_BY.get(chosen, _of_analysis if chosen in _ANALYSES else _of_sweep)
    figure = draw(file, chosen, options, size)
    figures.save(figure, target)
    typer.echo(str(target))


def _kind_for(file: Path) -> Plot:
    from layerscope.results import kind_of

    kind = kind_of(file)
    return Plot(kind) if kind in ("sweep", "training", "scaling") else Plot.heatmap


def _fitting(kind: Plot, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given, all of which must mean something for this kind of figure."""
    from layerscope.errors import UsageError

    options = {name: value for name, value in given.items() if value is not None}
    for name in options:
        if name not in _OPTIONS[kind]:
            taken = " and ".join(f"--{other.replace('_', '-')}" for other in _OPTIONS[kind]) or "none of these options"
            raise UsageError(f"--{name.replace('_', '-')} says nothing about --kind {kind}: that takes {taken}")
    return options


def _of_analysis(file: Path, kind: Plot, options: Mapping[str, Any], width: str) -> "Figure":
    from layerscope import figures
    from layerscope.results import read_analysis
    from layerscope.segmentation.similarity import similarity_of, within_chance

    result = read_analysis(file)
    if kind is Plot.match:
        return figures.match(result, options.get("measure", "cka"), width=width)
    if kind is Plot.panel:
        return figures.panel(result, width=width)
    if kind is Plot.profile:
        return figures.profile(result, segments=_segments(result, options), width=width)
    measure = options.get("measure", "cosine")
    similarity_of(result, measure)
    by_chance = within_chance(result, measure)
    return figures.heatmap(result[measure], segments=_segments(result, options), by_chance=by_chance, width=width)


def _segments(result: "Dataset", options: Mapping[str, Any]) -> "Segmentation | None":
    """Return the segments to draw: those asked for, or three where nothing was asked and there are three to find."""
    from layerscope.cli.numbers import segment_count
    from layerscope.figures.parts.matrix import compares_two
    from layerscope.segmentation.similarity import segment_measure

    segments, measure = options.get("segments", "3"), options.get("measure", "cosine")
    count = None if segments == "none" else segment_count(segments)
    asked = "segments" in options or "measure" in options
    if count is None or (not asked and measure not in result):
        return None
    if measure in result and (compares_two(result[measure]) or (not asked and result.sizes["layer"] < 3)):
        return None
    return segment_measure(result, measure, count)


def _of_training(file: Path, kind: Plot, options: Mapping[str, Any], width: str) -> "Figure":
    from layerscope import figures
    from layerscope.results import read_training

    return figures.training(read_training(file), width=width)


def _of_scaling(file: Path, kind: Plot, options: Mapping[str, Any], width: str) -> "Figure":
    from layerscope import figures
    from layerscope.results import read_scaling

    return figures.scaling(read_scaling(file), **options, width=width)


def _of_sweep(file: Path, kind: Plot, options: Mapping[str, Any], width: str) -> "Figure":
    from layerscope import figures
    from layerscope.results import read_sweep

    draw = getattr(figures, kind)
    figure: Figure = draw(read_sweep(file), **options, width=width)
    return figure


_DRAWN_BY: dict[Plot, Callable[[Path, Plot, Mapping[str, Any], str], "Figure"]] = {
    Plot.training: _of_training,
    Plot.scaling: _of_scaling,
}
