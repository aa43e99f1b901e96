"""Models of one similarity of a scaling: matrices, segments and titles."""

import numpy as np
import xarray as xr

from layerscope.cross_model.scaling_dataset import SEGMENTS
from layerscope.cross_model.scaling_fits import FORMS
from layerscope.datasets import require_variables
from layerscope.errors import MeasureError, UsageError, unknown_name

__all__ = ["matrix_of", "model_titles", "scaling_of_measure", "segment_starts", "similarity_name"]

_KIND = "scaling: make one with layerscope scaling, or ls.scaling"
_TEXT = ("model", "measure", "long_name", "segment", "supported", "form")
_DIMS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(["model", "states", "parameters"], ("model",)),
    **dict.fromkeys(["measure", "long_name", "excluded_first"], ("reading",)),
    **dict.fromkeys(["size", "size_low", "size_high"], ("model", "reading", "segment")),
    **dict.fromkeys(["proportion", "proportion_low", "proportion_high"], ("model", "reading", "segment")),
    **dict.fromkeys(["intercept", "slope"], ("reading", "segment", "form")),
    "supported": ("reading", "segment"),
    "segment": ("segment",),
    "form": ("form",),
    "similarity": ("model", "reading", "layer", "layer_other"),
}
"""Dimensions of the variables of a scaling that the figure reads."""


def scaling_of_measure(dataset: xr.Dataset, measure: str | None, exclude_first: int | None) -> xr.Dataset:
    """Return the part of a scaling that belongs to one measure and one number of excluded tokens.

    Raises
    ------
    UsageError
        The dataset is no scaling, has too few layers, or lacks the measure.
    MeasureError
        The measure was not computed with this number of excluded tokens.
    """
    if "reading" not in dataset.dims or "similarity" not in dataset:
        raise UsageError("this is no scaling: make one with layerscope scaling, or ls.scaling")
    require_variables(dataset, _KIND, _DIMS, required=_DIMS, text=_TEXT)
    if int(dataset.states.max()) > min(dataset.sizes["layer"], dataset.sizes["layer_other"]):
        raise UsageError("this scaling has fewer layers than its models have states: make it again, or take all layers")
    for label, known in (("segment", SEGMENTS), ("form", FORMS)):
        if missing := [name for name in known if name not in dataset[label].values]:
            raise UsageError(
                f"this scaling lacks the {label} {', '.join(missing)}\nselect all of them, or make it again"
            )
    names = dataset.measure.values.tolist()
    name = measure or ("cosine" if "cosine" in names else names[0])
    if name not in names:
        raise unknown_name("measure in this scaling", name, list(dict.fromkeys(names)))
    places = [place for place, other in enumerate(names) if other == name]
    counts = dataset.excluded_first.values[places].tolist()
    count = min(counts) if exclude_first is None else exclude_first
    if count not in counts:
        raise MeasureError(
            f"{name} was read with {' and '.join(map(str, counts))} tokens left out, not {count}: "
            f"analyze with --exclude-first {count}"
        )
    return dataset.isel(reading=places[counts.index(count)])


def similarity_name(reading: xr.Dataset) -> str:
    """Return the name of the similarity, with the number of excluded tokens."""
    count, name = int(reading.excluded_first), str(reading.long_name.item())
    if not count or "without their first" in name:
        return name
    return f"{name}, first {'token' if count == 1 else f'{count} tokens'} left out"


def matrix_of(reading: xr.Dataset, place: int) -> xr.DataArray:
    """Return the matrix of one model, without the padding to the deepest model."""
    states = int(reading.states[place])
    return reading["similarity"].isel(model=place, layer=slice(states), layer_other=slice(states))


def segment_starts(reading: xr.Dataset, place: int) -> tuple[int, ...]:
    """Return the first layers of all segments of one model but the first."""
    return tuple(int(start) for start in np.cumsum(reading["size"].values[place])[:-1])


def model_titles(reading: xr.Dataset) -> list[str]:
    """Return the names of the models, without their owners if names stay distinct."""
    names = [str(name) for name in reading.model.values]
    short = [name.rpartition("/")[2] for name in names]
    return short if len(set(short)) == len(short) else names
