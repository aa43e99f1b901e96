"""Draw the four cosines of an analysis on one scale, which shows the effect of a few tokens of very large norm."""

from typing import Any

import xarray as xr

from layerscope.arguments import checked
from layerscope.datasets import require_variables
from layerscope.errors import UsageError
from layerscope.figures.data.chosen_segments import chosen_segments
from layerscope.figures.data.excluded_tokens import excluded_tokens, excluded_words
from layerscope.figures.data.layer_matrix import compares_two
from layerscope.figures.parts.figure import Figure
from layerscope.figures.parts.matrix_panels import MatrixPanel, draw_matrices
from layerscope.figures.parts.segments import check_segments
from layerscope.figures.parts.style import inches, styled
from layerscope.segmentation.segmentation import Segmentation
from layerscope.stream_names import axis_word

__all__ = ["panel", "panel_of_analysis"]

_TITLES = {
    "cosine_sequence": ("whole sequence", "as in the paper"),
    "cosine": ("per token", "mean cosine"),
    "cosine_sequence_without_first": ("whole sequence", "first token left out"),
    "cosine_centered": ("per token", "centred"),
}


@checked
@styled
def panel(result: xr.Dataset, segments: Segmentation | None = None, *, width: str | float = "double") -> Figure:
    """Draw the four cosines of an analysis side by side on one colour scale.

    The order is: cosine of whole sequences, as in the paper; mean cosine per token; cosine of whole sequences without their first
    tokens; mean cosine per token after centring. The first differs from the others because of a few tokens of very large
    norm. In a single column there are two matrices in a row. Matrices that the analysis lacks are omitted.

    Parameters
    ----------
    result
        An analysis with ``cosine_sequence``, ``cosine``, ``cosine_sequence_without_first``, ``cosine_centered``.
    segments
        Segments to frame on the diagonal of each matrix.
    width
        ``double`` (6.9 inches), ``single`` (3.33) or inches.

    Raises
    ------
    UsageError
        The analysis lacks all four; the segments have another number of layers; `width` is invalid.

    Examples
    --------
    >>> cosine = xr.DataArray([[1.0, 0.2], [0.2, 1.0]], dims=("layer", "layer_other"))
    >>> figure = panel(xr.Dataset({"cosine_sequence": cosine, "cosine": cosine}))
    >>> len(figure.axes)  # two matrices and their colour bar
    3
    """
    excluded = _excluded(result)
    matrices = {name: result[name] for name in _TITLES if name in result}
    if excluded:
        matrices.pop("cosine_sequence_without_first", None)
    dims = dict.fromkeys(matrices, ("layer", "layer_other"))
    require_variables(result, "analysis: make one with layerscope analyze, or ls.analyze", dims)
    if not matrices:
        raise UsageError(
            f"the analysis holds none of {', '.join(_TITLES)}: "
            "analyze again with --measures cosine_sequence,cosine,cosine_centered"
        )
    two = any(compares_two(matrix) for matrix in matrices.values())
    check_segments(next(iter(matrices.values())), segments, two)
    panels = [MatrixPanel(matrix, *_wording(matrix, name, excluded)) for name, matrix in matrices.items()]
    name = "cosine" + (f", {excluded_words(excluded)}" if excluded else "")
    return draw_matrices(panels, inches(width), [name], shared=True, two=two, segments=segments)


def panel_of_analysis(result: xr.Dataset, *, width: str, **options: Any) -> Figure:
    """Draw the four cosines, with segments only on request."""
    return panel(result, chosen_segments(result, options) if "segments" in options else None, width=width)


def _excluded(result: xr.Dataset) -> int:
    """Return the number of tokens that the whole analysis excludes at the start of each sequence."""
    names = [name for name in _TITLES if name in result and name != "cosine_sequence_without_first"]
    return excluded_tokens(result, names)


def _wording(matrix: xr.DataArray, name: str, excluded: int) -> tuple[str, str]:
    """Return the title and the remark of a matrix; without first tokens, or of blocks, it is not the paper's."""
    title, remark = _TITLES[name]
    if name == "cosine_sequence" and (excluded or axis_word(matrix.attrs) == "block"):
        return title, excluded_words(excluded)
    return title, remark
