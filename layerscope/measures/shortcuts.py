"""One-line forms of an analysis: one similarity matrix, one comparison of two captures, the per-layer statistics.

Each calls `layerscope.measures.analysis.analyze` and returns a part of its result.
"""

import os
from collections.abc import Iterable
from typing import Any

import xarray

from layerscope.arguments import checked_with
from layerscope.errors import UsageError
from layerscope.measures.analysis import analyze
from layerscope.measures.catalogue import DEFAULT_MEASURES, find_measures
from layerscope.measures.record import Kind

__all__ = ["compare", "similarity", "statistics"]

Capture = str | os.PathLike[str] | xarray.Dataset


@checked_with(analyze, without=["measures"])
def similarity(capture: Capture, measure: str = "cosine", **options: Any) -> xarray.DataArray:
    """Measure how alike the layers of a capture are.

    Parameters
    ----------
    capture
        A capture file, or a Dataset, measured as given.
    measure
        A pairwise measure; ``layerscope list measures`` prints all.
    **options
        Options of `layerscope.analyze`: ``exclude_first``, ``bootstrap``, ``memory``, ``seed``, ….

    Returns
    -------
    xarray.DataArray
        ``[layer, layer_other]``, with the attributes of its computation. Derived variables (``<measure>_low`` and
        ``<measure>_high`` with a bootstrap, …) are coordinates, under the same names.

    Raises
    ------
    UsageError
        An unknown measure, or a per-layer one.
    MeasureError, FileError
        See `layerscope.analyze`.

    Examples
    --------
    >>> import numpy as np
    >>> token = ("token", np.array([0, 0, 1, 1]))
    >>> states = np.array([[[1.0, 0.0], [1.0, 1.0]]] * 4)
    >>> capture = xarray.Dataset(
    ...     {"hidden": (("token", "layer", "feature"), states)},
    ...     {"layer": [0, 1], "layer_name": ("layer", ["embedding", "block.0"])}
    ...     | {"sequence_index": token, "position": token, "token_id": token},
    ... )
    >>> float(similarity(capture, "cosine").sel(layer=0, layer_other=1).round(4))
    0.7071
    """
    return _matrix(analyze(capture, measures=[_of_pairs(measure)], **options), measure)


@checked_with(analyze, without=["measures"])
def compare(capture: Capture, other: Capture, measure: str = "cka", **options: Any) -> xarray.DataArray:
    """Measure how alike each layer of one capture is to each of another.

    Parameters
    ----------
    capture, other
        Capture files or Datasets of the same texts. Models of different widths need a measure that allows this. Different
        tokenizers need captures with ``spans=True``.
    measure
        A pairwise measure.
    **options
        Options of `layerscope.analyze`: ``align``, ``exclude_first``, ``bootstrap``, ….

    Returns
    -------
    xarray.DataArray
        The same as from `similarity`, with the layers of `other` over ``layer_other``. The attributes also record how tokens
        were paired: ``alignment``, ``aligned_tokens``, ``captured_tokens``, ``captured_tokens_other``.

    Raises
    ------
    UsageError, MeasureError, FileError
        See `similarity` and `layerscope.analyze`.

    Examples
    --------
    >>> import numpy as np
    >>> token = ("token", np.arange(4))
    >>> def capture(width):
    ...     states = np.random.default_rng(width).normal(size=(4, 1, width))
    ...     return xarray.Dataset(
    ...         {"hidden": (("token", "layer", "feature"), states)},
    ...         {"layer": [0], "layer_name": ("layer", ["embedding"])}
    ...         | {"sequence_index": token, "position": token, "token_id": token},
    ...     )
    >>> compare(capture(2), capture(3), "procrustes").shape
    (1, 1)
    """
    result = analyze(capture, other, measures=[_of_pairs(measure)], **options)
    paired = {
        name: result.attrs[name] for name in result.attrs if name.startswith(("alignment", "aligned", "captured"))
    }
    return _matrix(result, measure).assign_attrs(paired)


@checked_with(analyze, without=["measures"])
def statistics(capture: Capture, measures: str | Iterable[str] | None = None, **options: Any) -> xarray.Dataset:
    """Measure properties of each layer of a capture.

    Parameters
    ----------
    capture
        A capture file, or a Dataset, measured as given.
    measures
        Per-layer measures; None for variance, norm and largest absolute value.
    **options
        Options of `layerscope.analyze`: ``exclude_first``, ``bootstrap``, ….

    Returns
    -------
    xarray.Dataset
        A variable ``[layer]`` for each measure, with ``<measure>_low`` and ``<measure>_high`` with a bootstrap, and the
        attributes of the analysis.

    Raises
    ------
    UsageError
        An unknown measure, or a pairwise one.
    MeasureError, FileError
        See `layerscope.analyze`.

    Examples
    --------
    >>> import numpy as np
    >>> token = ("token", np.array([0, 0, 1, 1]))
    >>> capture = xarray.Dataset(
    ...     {"hidden": (("token", "layer", "feature"), np.full((4, 2, 9), 2.0))},
    ...     {"layer": [0, 1], "layer_name": ("layer", ["embedding", "block.0"])}
    ...     | {"sequence_index": token, "position": token, "token_id": token},
    ... )
    >>> statistics(capture, ["norm"])["norm"].values
    array([6., 6.])
    """
    names = [record.name for record in find_measures(DEFAULT_MEASURES) if record.kind is Kind.PER_LAYER]
    records = find_measures(names if measures is None else measures)
    for record in records:
        if record.kind is not Kind.PER_LAYER:
            raise UsageError(f"'{record.name}' compares two layers: use similarity() or analyze()")
    result = analyze(capture, measures=[record.name for record in records], **options)
    return result[[str(name) for name, variable in result.data_vars.items() if variable.dims == ("layer",)]]


def _of_pairs(measure: str) -> str:
    (record,) = find_measures([measure])
    if record.kind is not Kind.PAIRWISE:
        raise UsageError(f"'{measure}' is a per-layer measure: use statistics() or analyze()")
    return measure


def _matrix(result: xarray.Dataset, measure: str) -> xarray.DataArray:
    """Return one measure of an analysis, with its derived variables as coordinates."""
    matrix = result[measure]
    derived = {
        str(name): variable.variable
        for name, variable in result.data_vars.items()
        if str(name).startswith(f"{measure}_") and set(variable.dims) <= set(matrix.dims)
    }
    return matrix.assign_coords(derived)
