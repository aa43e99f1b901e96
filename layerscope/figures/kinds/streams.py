"""Draw one measure of the residual stream and of what attention and MLP add to it, side by side on one colour scale."""

from collections.abc import Mapping, Sequence

import xarray as xr

from layerscope.arguments import checked
from layerscope.errors import UsageError, unknown_name
from layerscope.figures.data.excluded_tokens import excluded_tokens, excluded_words
from layerscope.figures.data.layer_matrix import compares_two, measure_name
from layerscope.figures.parts.figure import Figure
from layerscope.figures.parts.matrix_panels import MatrixPanel, draw_matrices
from layerscope.figures.parts.style import inches, styled
from layerscope.segmentation.analysis_matrices import default_measure, measure_matrix
from layerscope.stream_names import STREAMS

__all__ = ["streams", "streams_of_analyses"]

_TITLES = {
    "resid": ("residual stream", "between the blocks"),
    "attn": ("attention", "added by each block"),
    "mlp": ("MLP", "added by each block"),
}
_ONE_CAPTURE = ("model", "texts", "schedule")
"""Attributes that analyses of one capture share."""


@checked
@styled
def streams(results: Mapping[str, xr.Dataset], measure: str | None = None, *, width: str | float = "double") -> Figure:
    """Draw the residual stream, and what attention and MLP of each block add to it, by one measure on one colour scale.

    Rows and columns of the residual stream are states, those of attention and MLP are blocks. In a single column there are two
    matrices in a row.

    Parameters
    ----------
    results
        Analyses of one capture by stream: ``resid``, ``attn``, ``mlp``, or some of them, each made with this ``stream``.
    measure
        A measure that all of them contain; by default the cosine, or the first without it.
    width
        ``double`` (6.9 inches), ``single`` (3.33) or inches.

    Raises
    ------
    UsageError
        There is no analysis; a name is no stream, or not that of the analysis; the analyses are of different captures or leave
        out different numbers of first tokens; one lacks the measure; `width` is invalid.

    Examples
    --------
    >>> cosine = xr.DataArray([[1.0, 0.2], [0.2, 1.0]], dims=("layer", "layer_other"))
    >>> analysis = xr.Dataset({"cosine": cosine})
    >>> figure = streams({"resid": analysis, "attn": analysis.assign_attrs(stream="attn")})
    >>> len(figure.axes)  # two matrices and their colour bar
    3
    """
    if not results:
        raise UsageError(
            "streams needs an analysis of at least one stream: make it with layerscope analyze --stream attn"
        )
    for stream, result in results.items():
        _require_stream(stream, result)
    ordered = {stream: results[stream] for stream in STREAMS if stream in results}
    measure = measure or default_measure(next(iter(ordered.values())))
    matrices = {stream: measure_matrix(result, measure) for stream, result in ordered.items()}
    _require_one_capture(ordered, measure)
    excluded = excluded_tokens(next(iter(ordered.values())), [measure])
    first = next(iter(matrices.values()))
    ending = f", {excluded_words(excluded)}" if excluded else ""
    names = [measure_name(first) + ending, measure.replace("_", " ") + ending]
    panels = [MatrixPanel(matrix, *_TITLES[stream]) for stream, matrix in matrices.items()]
    two = any(compares_two(matrix) for matrix in matrices.values())
    return draw_matrices(panels, inches(width), names, shared=False, two=two)


def streams_of_analyses(results: Sequence[xr.Dataset], measure: str | None = None, *, width: str) -> Figure:
    """Draw analyses that record their streams, in any order."""
    by_stream: dict[str, xr.Dataset] = {}
    for result in results:
        stream = str(result.attrs.get("stream", "resid"))
        if stream in by_stream:
            raise UsageError(f"two of the analyses are of stream {stream}: give one of each of {', '.join(STREAMS)}")
        by_stream[stream] = result
    return streams(by_stream, measure, width=width)


def _require_stream(stream: str, result: xr.Dataset) -> None:
    if stream not in STREAMS:
        raise unknown_name("stream", stream, STREAMS)
    actual = result.attrs.get("stream", stream)
    if actual != stream:
        raise UsageError(f"the analysis given as {stream} is of stream {actual}: analyze again with --stream {stream}")


def _require_one_capture(results: Mapping[str, xr.Dataset], measure: str) -> None:
    """Raise unless the analyses are of one model, schedule and texts, with the same tokens left out."""
    (one, first), *others = results.items()
    for other, result in others:
        for name in _ONE_CAPTURE:
            values = [str(of.attrs[name]) for of in (first, result) if name in of.attrs]
            if len(set(values)) > 1:
                raise UsageError(
                    f"the analyses are of different captures: the {name} of {one} is {values[0]}, of {other} {values[1]}"
                )
        left_out = [excluded_tokens(of, [measure]) for of in (first, result)]
        if left_out[0] != left_out[1]:
            raise UsageError(
                f"the analysis of {one} leaves out {left_out[0]} first tokens, of {other} {left_out[1]}: "
                "analyze both with the same --exclude-first"
            )
