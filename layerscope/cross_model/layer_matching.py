"""Match the layers of two models: for each layer, find the most similar layer of the other model."""

from collections.abc import Mapping

import numpy as np
import xarray
from jaxtyping import Float, Int

from layerscope.arguments import checked
from layerscope.errors import MeasureError, UsageError, unknown_name
from layerscope.measures.kernels.bootstrap import percentiles
from layerscope.segmentation.analysis_matrices import count_of, is_between, pairwise_measures, require_analysis
from layerscope.segmentation.similarity import is_distance

__all__ = ["best_match"]

Attributes = dict[str, str | int | float]


@checked
def best_match(result: xarray.Dataset, measure: str = "cka") -> xarray.Dataset:
    r"""Return, for each layer of one capture, its best match in the other, in both directions.

    The best match of layer $i$ is $\arg\max_j S_{ij}$, or $\arg\min_j S_{ij}$ for a distance; ties go to the first layer.
    Depths are relative, from 0 (state 0) to 1 (the last state), so that models of different depth are comparable.

    Parameters
    ----------
    result
        An analysis between two captures, from `layerscope.analyze` or a file.
    measure
        Name of a matrix in it.

    Returns
    -------
    xarray.Dataset
        Over ``layer``: ``depth``, of the layer itself; ``best_layer``, the number of its match, ``best_depth`` and
        ``best_value``. Over ``layer_other`` the same with ``_other``, for each layer of the second capture. Where the
        analysis holds bootstrap replicates of the measure, ``best_depth_low`` and ``best_depth_high`` are the ends of the
        95 % interval of the match found in each replicate, ``best_value_low`` and ``best_value_high`` those of the value
        at the match found in all data.

    Raises
    ------
    UsageError
        The analysis is of one capture, or does not contain this matrix.
    MeasureError
        All values of a layer are NaN.

    Examples
    --------
    >>> values = [[0.9, 0.2, 0.1], [0.3, 0.4, 0.8]]
    >>> result = xarray.Dataset(
    ...     {"cka": (("layer", "layer_other"), values)},
    ...     {"layer": [0, 1], "layer_other": [0, 1, 2], "layer_name_other": ("layer_other", ["embedding", "block.0", "block.1"])},
    ...     {"model_other": "another"},
    ... )
    >>> match = best_match(result, "cka")
    >>> match["best_layer"].values, match["best_depth"].values, match["best_layer_other"].values
    (array([0, 2]), array([0., 1.]), array([0, 1, 1]))
    """
    matrix = _between(result, measure)
    replicates = result.get(f"{measure}_bootstrap")
    numbers = {name: result[name].to_numpy() for name in ("layer", "layer_other")}
    depths = {
        "layer": _relative(numbers["layer"], result.attrs, ""),
        "layer_other": _relative(numbers["layer_other"], result.attrs, "_other"),
    }
    matches = xarray.Dataset(coords=matrix.coords, attrs=result.attrs | {"measure": measure})
    for along, across, suffix in (("layer", "layer_other", ""), ("layer_other", "layer", "_other")):
        values = matrix.transpose(along, across)
        again = None if replicates is None else replicates.transpose("replicate", along, across).to_numpy()
        columns = _matches(values, again, numbers[across], depths[across], is_distance(matrix))
        for (name, bound), column in {("depth", ""): depths[along], **columns}.items():
            matches[f"{name}{suffix}{bound}"] = (along, column, _words(name, bound, matrix.attrs))
    return matches


def _between(result: xarray.Dataset, measure: str) -> xarray.DataArray:
    require_analysis(result, "layer", "layer_other")
    known = pairwise_measures(result)
    if measure not in known:
        raise unknown_name("measure in this analysis", measure, known)
    if not is_between(result):
        raise UsageError(
            "this analysis is of one capture, where each layer is its own best match: "
            "analyze two, as in layerscope analyze A.h5 B.h5"
        )
    matrix = result[measure]
    for axis, dimension in enumerate(matrix.dims):
        nowhere = np.isnan(matrix.to_numpy()).all(axis=1 - axis)
        if nowhere.any():
            number = result[dimension].to_numpy()[nowhere][0]
            raise MeasureError(
                f"{dimension} {number} has no {measure} with any other: leave it out with sel({dimension}=…)"
            )
    return matrix


def _matches(
    matrix: xarray.DataArray,
    replicates: Float[np.ndarray, "replicate layer layer_other"] | None,
    numbers: Int[np.ndarray, " layer_other"],
    depths: Float[np.ndarray, " layer_other"],
    distance: bool,
) -> dict[tuple[str, str], np.ndarray]:
    """Return the columns by name and bound: "", "_low" or "_high"."""
    values = matrix.to_numpy().astype(np.float64)
    best = _best(values, distance)
    rows = np.arange(len(values))
    columns = {
        ("best_layer", ""): numbers[best],
        ("best_depth", ""): depths[best],
        ("best_value", ""): values[rows, best],
    }
    if replicates is not None:
        for name, again in (
            ("best_depth", depths[_best(replicates, distance)]),
            ("best_value", replicates[:, rows, best]),
        ):
            columns[name, "_low"], columns[name, "_high"] = percentiles(again.astype(np.float64))
    return columns


def _best(values: Float[np.ndarray, "... layer layer_other"], distance: bool) -> Int[np.ndarray, "... layer"]:
    worst = np.inf if distance else -np.inf
    known = np.where(np.isnan(values), worst, values)
    chosen: np.ndarray = known.argmin(axis=-1) if distance else known.argmax(axis=-1)
    return chosen


def _relative(
    numbers: Int[np.ndarray, " layer"], attrs: Mapping[object, object], suffix: str
) -> Float[np.ndarray, " layer"]:
    """Divide state numbers by the number of the last state, which the file may not contain."""
    last = max(1, int(numbers.max()))
    if attrs.get(f"schedule{suffix}", "identity") == "identity":  # a schedule has one state per stage
        last = max(last, count_of("the analysis", attrs, f"num_blocks{suffix}") or last)
    return numbers / last


def _words(name: str, bound: str, attrs: Mapping[object, object]) -> Attributes:
    measured = str(attrs.get("long_name", "the measure"))
    words = {
        "depth": "relative depth",
        "best_layer": f"best match in the other capture, by {measured}",
        "best_depth": f"relative depth of the best match in the other capture, by {measured}",
        "best_value": f"{measured} with the best match in the other capture",
    }[name]
    return {"long_name": f"{words}, 95 % interval, {bound.strip('_')}" if bound else words}
