"""Build the labelled Dataset of an analysis, with attributes that record how each value was computed."""

from collections.abc import Iterable

import numpy as np
import xarray
from jaxtyping import Float

import layerscope.accessor  # noqa: F401 - makes result.layerscope known
from layerscope.measures.context import AnalysisContext
from layerscope.measures.coverage import coverage_attributes
from layerscope.measures.derived import DERIVED
from layerscope.measures.estimate import Baseline, Estimate
from layerscope.measures.estimators.massive_report import MassiveReport
from layerscope.measures.kernels.bootstrap import Resampling, replicate_warning
from layerscope.measures.record import Kind, Measure

__all__ = ["add_baselines", "build_dataset"]

Attributes = dict[str, str | int | float]


def build_dataset(
    context: AnalysisContext, estimates: Iterable[tuple[Measure, Estimate]], report: MassiveReport
) -> xarray.Dataset:
    """Return the estimates and the report of massive activations as a Dataset.

    Parameters
    ----------
    context
        The analysis, whose layers are the coordinates.
    estimates
        Estimate of each measure.
    report
        Its table becomes variables over ``rank``, its attributes those of the Dataset.

    Returns
    -------
    xarray.Dataset
        Dimensions ``layer`` and ``layer_other`` with the state numbers, coordinates ``layer_name`` and ``layer_name_other``; with
        a measure of blocks also ``block`` and ``block_name``.
    """
    numbered = {"long_name": "state" if context.options.axis_word == "layer" else "block"}
    dataset = xarray.Dataset(
        coords={
            "layer": ("layer", context.first.layer, numbered),
            "layer_other": ("layer_other", context.other.layer, numbered),
            "layer_name": ("layer", np.array(context.first.layer_name, dtype=object)),
            "layer_name_other": ("layer_other", np.array(context.other.layer_name, dtype=object)),
        }
    )
    for measure, estimate in estimates:
        if measure.kind is Kind.PER_BLOCK and "block" not in dataset.coords:
            dataset = dataset.assign_coords(_block_coordinates(context))
        attributes = _attributes(context, measure, estimate)
        if measure.kind is Kind.PAIRWISE:
            dims = ("layer", "layer_other")
            dataset[measure.name] = (dims, estimate.value, attributes)
            _place_interval(dataset, measure.name, measure, estimate.replicates, estimate.resampling)
            _place_replicates(dataset, measure.name, estimate)
            continue
        dimension = "layer" if measure.kind is Kind.PER_LAYER else "block"
        dataset[measure.name] = ((dimension,), estimate.value, attributes)
        _place_interval(dataset, measure.name, measure, estimate.replicates, estimate.resampling)
        if estimate.value_other is not None:
            name = f"{measure.name}_other"
            dataset[name] = ((f"{dimension}_other",), estimate.value_other, attributes)
            _place_interval(dataset, name, measure, estimate.replicates_other, estimate.resampling)
    for name, column in report.table.items():
        dataset[name] = ("rank", column)
    return dataset.assign_attrs(report.attributes)


def _block_coordinates(context: AnalysisContext) -> dict[str, tuple[str, np.ndarray]]:
    """Return the numbers and names of the blocks between the layers of each capture; a block has the name of its output."""
    coordinates = {}
    for ending, axis in zip(("", "_other"), context.axes, strict=False):
        names = np.array(axis.layer_name, dtype=object)[np.isin(axis.layer - 1, axis.blocks)]
        coordinates[f"block{ending}"] = (f"block{ending}", axis.blocks)
        coordinates[f"block_name{ending}"] = (f"block{ending}", names)
    return coordinates


def add_baselines(dataset: xarray.Dataset, baselines: Iterable[Baseline]) -> None:
    """Add the baselines of its measures to an analysis."""
    for baseline in baselines:
        measured = dataset[baseline.measure]
        if not baseline.arrays:
            measured.attrs |= baseline.attributes
        kept: Attributes = {
            name: measured.attrs[name] for name in ("long_name", "range", "reference", "excluded_first")
        }
        for ending, values in baseline.arrays.items():
            dataset[f"{baseline.measure}_{ending}"] = (
                measured.dims,
                values,
                _titled(kept, ending) | baseline.attributes,
            )


def _attributes(context: AnalysisContext, measure: Measure, estimate: Estimate) -> Attributes:
    attributes: Attributes = {
        "long_name": measure.long_name,
        "range": measure.range,
        "estimator": estimate.description,
        "reference": measure.reference,
        "tokens": estimate.tokens,
        "stream": context.options.stream,
        "excluded_first": context.options.exclude_first,
        **estimate.details,
    }
    return attributes | ({"units": measure.units} if measure.units else {})


def _place_interval(
    dataset: xarray.Dataset,
    name: str,
    measure: Measure,
    replicates: Float[np.ndarray, "..."] | None,
    resampling: Resampling | None,
) -> None:
    """Add the ends of the 95 % interval of a variable, inside the measure's range."""
    if replicates is None or resampling is None:
        return
    variable = dataset[name]
    variable.attrs |= coverage_attributes(measure.name, resampling.units) | replicate_warning(len(replicates))
    ends = resampling.interval(variable.values, replicates)
    for bound, end in zip(("low", "high"), ends, strict=True):
        attributes = _titled(variable.attrs, bound) | {"interval": resampling.description}
        dataset[f"{name}_{bound}"] = (variable.dims, np.clip(end, measure.low, measure.high), attributes)


def _place_replicates(dataset: xarray.Dataset, name: str, estimate: Estimate) -> None:
    """Add the replicates of a matrix, half-samples shifted about its value."""
    if estimate.replicates is None or estimate.resampling is None:
        return
    variable, resampling = dataset[name], estimate.resampling
    replicates = resampling.recenter(estimate.replicates, estimate.value).astype(np.float32)
    attributes = _titled(variable.attrs, "bootstrap") | {"interval": resampling.description}
    dataset[f"{name}_bootstrap"] = (("replicate", *variable.dims), replicates, attributes)


def _titled(attributes: Attributes, ending: str) -> Attributes:
    """Return the attributes of a measure with the long name of a derived variable."""
    return attributes | {"long_name": f"{attributes['long_name']}, {DERIVED[ending]}"}
