"""Read the matrices of measures, their ranges and their attributes from an analysis, and check that it is one."""

import re
import reprlib
from collections.abc import Hashable, Mapping
from numbers import Integral
from typing import Any

import numpy as np
import xarray as xr

from layerscope.datasets import require_variables
from layerscope.errors import MeasureError, UsageError, unknown_name
from layerscope.measures.derived import DERIVED, is_derived

__all__ = [
    "count_of",
    "default_measure",
    "is_between",
    "measure_matrix",
    "pairwise_measures",
    "require_analysis",
    "upper_end",
    "value_range",
]

_NUMBER = re.compile(r"[-−]?\s*(?:inf|\d+(?:\.\d+)?(?:e[-+]?\d+)?)")


def require_analysis(result: xr.Dataset, *required: str) -> None:
    """Raise unless the intervals, replicates and null values of an analysis match their measures.

    Raises
    ------
    UsageError
        A required variable is missing, or a variable has other dimensions than expected.
    """
    expected: dict[str, tuple[Hashable, ...]] = {name: (name,) for name in ("layer", "layer_other")}
    for name, variable in result.data_vars.items():
        if variable.dims not in (("layer",), ("block",), ("layer", "layer_other")) or is_derived(name):
            continue
        if variable.ndim == 1 and variable.dtype.kind not in "fiu":
            continue  # names of layers or blocks
        for ending in DERIVED:
            replicates = ("replicate",) if ending == "bootstrap" else ()
            expected[f"{name}_{ending}"] = (*replicates, *variable.dims)
        expected[str(name)] = variable.dims
        if f"{name}_null" in result:
            required = (*required, f"{name}_null_low", f"{name}_null_high")
    require_variables(result, "analysis: make one with layerscope analyze, or ls.analyze", expected, required=required)
    rows, columns = (result.sizes.get(name) for name in ("layer", "layer_other"))
    between = is_between(result) or any(variable.dims == ("layer_other",) for variable in result.data_vars.values())
    if None not in (rows, columns) and rows != columns and not between:
        raise UsageError(
            f"the analysis of one capture has {rows} layers against {columns}: take the same layers of both"
        )


def count_of(title: str, attrs: Mapping[Any, object], name: str, least: int = 1) -> int | None:
    """Return an attribute that is a count; None without such an attribute.

    Parameters
    ----------
    title
        Name of the dataset, for messages.
    attrs, name
        The attributes, and the name of the count.
    least
        Lowest valid count.

    Raises
    ------
    MeasureError
        The attribute is not a whole number, or is too low.

    Examples
    --------
    >>> count_of("analysis 1", {"num_blocks": 12}, "num_blocks"), count_of("analysis 1", {}, "num_blocks")
    (12, None)
    >>> count_of("analysis 1", {"num_blocks": "x"}, "num_blocks")
    Traceback (most recent call last):
    layerscope.errors.MeasureError: analysis 1: its attribute num_blocks 'x' must be a whole number of at least 1; analyze again
    """
    count = attrs.get(name)
    if count is None:
        return None
    if isinstance(count, bool) or not isinstance(count, Integral) or count < least:
        text = " ".join(reprlib.repr(count).split())
        raise MeasureError(
            f"{title}: its attribute {name} {text} must be a whole number of at least {least}; analyze again"
        )
    return int(count)


def pairwise_measures(result: xr.Dataset) -> list[str]:
    """Return the names of the layer-by-layer measures of an analysis, without derived variables such as intervals.

    Examples
    --------
    >>> matrix = xr.DataArray(np.eye(2), dims=("layer", "layer_other"))
    >>> pairwise_measures(xr.Dataset({"cosine": matrix, "cosine_low": matrix, "norm": ("layer", [1.0, 2.0])}))
    ['cosine']
    """
    return [
        str(name)
        for name, variable in result.data_vars.items()
        if variable.dims == ("layer", "layer_other") and not is_derived(name)
    ]


def default_measure(result: xr.Dataset) -> str:
    """Return the measure that is drawn where none is named: the cosine, or the first of an analysis without it.

    Examples
    --------
    >>> matrix = xr.DataArray(np.eye(2), dims=("layer", "layer_other"))
    >>> default_measure(xr.Dataset({"cka": matrix, "cosine": matrix})), default_measure(xr.Dataset({"cka": matrix}))
    ('cosine', 'cka')
    """
    known = pairwise_measures(result)
    return known[0] if known and "cosine" not in known else "cosine"


def measure_matrix(result: xr.Dataset, measure: str) -> xr.DataArray:
    """Return one measure of an analysis unchanged, as a similarity or a distance.

    Raises
    ------
    UsageError
        The dataset is no analysis, or does not contain this matrix.
    """
    require_analysis(result)
    known = pairwise_measures(result)
    if not known:
        raise UsageError(
            "the analysis contains no matrix over pairs of layers: analyze again with a pairwise measure, such as cosine"
        )
    if measure not in known:
        raise unknown_name("measure in this analysis", measure, known)
    return result[measure]


def is_between(result: xr.Dataset) -> bool:
    """Return whether an analysis compares two captures, so that its matrices cannot be segmented.

    Examples
    --------
    >>> is_between(xr.Dataset(attrs={"model": "one"})), is_between(xr.Dataset(attrs={"alignment": "tokens"}))
    (False, True)
    """
    return "alignment" in result.attrs or "model_other" in result.attrs


def value_range(attrs: Mapping[str, object]) -> tuple[float, float] | None:
    """Return the lower and upper end of a variable's ``range`` attribute; None without the attribute.

    Examples
    --------
    >>> value_range({"range": "[-1, 1]"}), value_range({"range": "[0, inf)"}), value_range({})
    ((-1.0, 1.0), (0.0, inf), None)
    """
    ends = _NUMBER.findall(str(attrs.get("range", "")))
    if len(ends) != 2:
        return None
    low, high = (float(end.replace("−", "-").replace(" ", "")) for end in ends)
    return low, high


def upper_end(matrix: xr.DataArray) -> float | None:
    """Return the upper end of a matrix's ``range`` attribute; None unless it is finite and above 0.

    Examples
    --------
    >>> upper_end(xr.DataArray(0.0, attrs={"range": "[0, 2]"})), upper_end(xr.DataArray(0.0, attrs={"range": "[0, inf)"}))
    (2.0, None)
    """
    ends = value_range(matrix.attrs)
    return ends[1] if ends is not None and 0 < ends[1] < np.inf else None
