"""``layerscope segment``: beginning, middle and ending layers of an analysis."""

from pathlib import Path
from typing import Annotated

import typer

from layerscope.cli.options import Json

__all__ = ["segment"]


def segment(
    analysis: Annotated[Path, typer.Argument(help="An analysis file.")],
    measure: Annotated[str, typer.Option(help="Similarity measure to segment.")] = "cosine",
    segments: Annotated[str, typer.Option(help="Number of segments, or auto.")] = "3",
    as_json: Json = False,
) -> None:
    """Find the beginning, middle and ending layers of an analysis.

    The result is the best cut of a similarity matrix into contiguous segments.
    An analysis made with --stream attn or mlp has segments of blocks.

    Example: layerscope segment run.nc --measure cosine
    """
    from layerscope.cli.numbers import number_or_auto
    from layerscope.results import read_analysis
    from layerscope.segmentation.clustering import agreement, segment_agglomerative
    from layerscope.segmentation.similarity import segment_measure, similarity_of
    from layerscope.stream_names import axis_word

    count = number_or_auto("--segments", segments)
    result = read_analysis(analysis)
    segmentation = segment_measure(result, measure, count)
    if as_json:
        typer.echo(segmentation.to_json())
        return
    word, numbers = f"{axis_word(result.attrs)}s", result["layer"].values
    stability = segmentation.stability
    for number, (start, size, label) in enumerate(
        zip(segmentation.starts, segmentation.sizes, segmentation.labels, strict=True)
    ):
        share = "" if stability is None or number == 0 else f"  boundary stability {stability[number - 1]:.2f}"
        typer.echo(f"{label:<10} {word} {numbers[start]:>3} to {numbers[start + size - 1]:>3}  ({size}){share}")
    clustered = segment_agglomerative(similarity_of(result, measure), len(segmentation.sizes))
    score = (
        "" if segmentation.score is None else f"score {segmentation.score:.3f} (mean similarity within minus between); "
    )
    typer.echo(
        f"{score}agglomerative clustering: sizes {clustered.sizes}, agreement {agreement(segmentation, clustered):.2f}"
    )
