"""The one place where arrays become labelled arrays, with attributes that say how they were made.

This module knows estimates and xarray; it knows no formula and no file.
"""

from collections.abc import Iterable

import numpy as np
import xarray
from jaxtyping import Float

import layerscope.accessor  # noqa: F401 - makes result.layerscope known
from layerscope.measures.derived import DERIVED
from layerscope.measures.families.massive_report import MassiveReport
from layerscope.measures.kernels.bootstrap import percentiles
from layerscope.measures.record import Kind, Measure
from layerscope.measures.study import Beside, Estimate, Study

__all__ = ["label", "label_beside"]

Attributes = dict[str, str | int | float]


def label(study: Study, estimates: Iterable[tuple[Measure, Estimate]], report: MassiveReport) -> xarray.Dataset:
    """Lift the estimates and the massive-activation report to a Dataset.

    Parameters
    ----------
    study
        Whose layers are the coordinates.
    estimates
        The arrays of each measure.
    report
        Its table becomes variables over ``rank``, its facts attributes of the Dataset.

    Returns
    -------
    xarray.Dataset
        Dimensions ``layer`` and ``layer_other`` with the state numbers, coordinates ``layer_name`` and ``layer_name_other``.
    """
    dataset = xarray.Dataset(
        coords={
            "layer": ("layer", study.first.layer, {"long_name": "state"}),
            "layer_other": ("layer_other", study.other.layer, {"long_name": "state"}),
            "layer_name": ("layer", np.array(study.first.layer_name, dtype=object)),
            "layer_name_other": ("layer_other", np.array(study.other.layer_name, dtype=object)),
        }
    )
    for measure, estimate in estimates:
        attributes = _attributes(study, measure, estimate)
        if measure.kind is Kind.PAIRWISE:
            dims = ("layer", "layer_other")
            _place(dataset, measure.name, dims, attributes, estimate.value, estimate.replicates, estimate.interval)
            if estimate.replicates is not None:
                dataset[f"{measure.name}_bootstrap"] = (
                    ("replicate", *dims),
                    estimate.replicates.astype(np.float32),
                    _titled(attributes, "bootstrap") | {"interval": estimate.interval},
                )
            continue
        _place(dataset, measure.name, ("layer",), attributes, estimate.value, estimate.replicates, estimate.interval)
        if estimate.value_other is not None:
            name, replicates = f"{measure.name}_other", estimate.replicates_other
            _place(dataset, name, ("layer_other",), attributes, estimate.value_other, replicates, estimate.interval)
    for name, column in report.table.items():
        dataset[name] = ("rank", column)
    return dataset.assign_attrs(report.facts)


def label_beside(dataset: xarray.Dataset, found: Iterable[Beside]) -> None:
    """Add to a labelled analysis what chance and halves say of its measures."""
    for beside in found:
        measured = dataset[beside.measure]
        if not beside.arrays:
            measured.attrs |= beside.facts
        kept: Attributes = {
            name: measured.attrs[name] for name in ("long_name", "range", "reference", "excluded_first")
        }
        for ending, values in beside.arrays.items():
            dataset[f"{beside.measure}_{ending}"] = (measured.dims, values, _titled(kept, ending) | beside.facts)


def _attributes(study: Study, measure: Measure, estimate: Estimate) -> Attributes:
    attributes: Attributes = {
        "long_name": measure.long_name,
        "range": measure.range,
        "estimator": estimate.estimator,
        "reference": measure.reference,
        "tokens": estimate.tokens,
        "excluded_first": study.exclude_first,
        **estimate.chosen,
    }
    return attributes | ({"units": measure.units} if measure.units else {})


def _place(
    dataset: xarray.Dataset,
    name: str,
    dims: tuple[str, ...],
    attributes: Attributes,
    value: Float[np.ndarray, "..."],
    replicates: Float[np.ndarray, "..."] | None,
    interval: str,
) -> None:
    dataset[name] = (dims, value, attributes)
    if replicates is None:
        return
    for bound, ends in zip(("low", "high"), percentiles(replicates), strict=True):
        dataset[f"{name}_{bound}"] = (dims, ends, _titled(attributes, bound) | {"interval": interval})


def _titled(attributes: Attributes, ending: str) -> Attributes:
    """Return a measure's attributes with the long name of what stands beside it."""
    return attributes | {"long_name": f"{attributes['long_name']}, {DERIVED[ending]}"}
