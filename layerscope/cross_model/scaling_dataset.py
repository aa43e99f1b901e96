"""Assemble the Dataset of a scaling: sizes, intervals, curves, claims and similarity matrices.

The matrices are included so that a figure needs this Dataset only.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from layerscope.cross_model.paper_claims import beginning_trend, check_claims, model_scale
from layerscope.cross_model.scaling_fits import FORMS, best_forms, fit_forms
from layerscope.cross_model.scaling_inputs import InputKey, ScalingInput, ScalingModel
from layerscope.measures.kernels.bootstrap import percentiles
from layerscope.provenance import provenance
from layerscope.version import __version__

__all__ = ["SEGMENTS", "SegmentSizes", "scaling_dataset"]

SEGMENTS = ("beginning", "middle", "ending")

_OF_SIZE = ("model", "reading", "segment")
_OF_FIT = ("reading", "segment", "form")


@dataclass(frozen=True)
class SegmentSizes:
    """One similarity of one model, of_segments into three.

    Attributes
    ----------
    sizes
        Layers of each segment.
    score
        Mean similarity within segments minus between; None without pairs.
    stability
        Share of the replicates with each boundary at the same layer.
    replicates
        Sizes in each replicate.
    """

    sizes: Int[np.ndarray, " segment"]
    score: float | None
    stability: Float[np.ndarray, " boundary"]
    replicates: Int[np.ndarray, "replicate segment"]


def scaling_dataset(
    models: Sequence[ScalingModel],
    inputs: dict[InputKey, list[ScalingInput]],
    segments: dict[InputKey, list[SegmentSizes]],
) -> xr.Dataset:
    """Return the Dataset of a scaling; see the conventions for its variables."""
    sizes = _each(segments, lambda of_segments: of_segments.sizes)
    replicates = np.moveaxis(_each(segments, lambda of_segments: of_segments.replicates), 2, 0)
    dataset = _described(models, inputs)
    _place_sizes(dataset, sizes, replicates, segments)
    everything = np.concatenate([sizes[None], replicates])
    _place_fits(dataset, everything)
    _place_claims(dataset, everything)
    _place_matrices(dataset, inputs)
    return dataset


def _each(segments: dict[InputKey, list[SegmentSizes]], of: Callable[[SegmentSizes], np.ndarray | float]) -> np.ndarray:
    """Return one value of every `SegmentSizes` as ``[model, reading, ...]``."""
    return np.array([[of(of_segments) for of_segments in of_models] for of_models in segments.values()]).swapaxes(0, 1)


def _described(models: Sequence[ScalingModel], inputs: dict[InputKey, list[ScalingInput]]) -> xr.Dataset:
    """Return a Dataset with the models and the inputs."""
    firsts = [of_models[0].similarity for of_models in inputs.values()]
    dataset = xr.Dataset(
        {
            "depth": ("model", [model.depth for model in models], {"long_name": "blocks"}),
            "states": ("model", [model.states for model in models], {"long_name": "states, blocks + 1"}),
            "parameters": ("model", [model.parameters for model in models], {"long_name": "parameters"}),
            "architecture": ("model", _words([model.architecture for model in models])),
            "backend": ("model", _words([model.backend for model in models])),
            "texts": ("model", _words([model.texts for model in models])),
            "measure": ("reading", _words([measure for measure, _ in inputs])),
            "excluded_first": (
                "reading",
                [excluded for _, excluded in inputs],
                {"long_name": "tokens left out at the start of each sequence"},
            ),
            "long_name": ("reading", _words([str(first.attrs.get("long_name", first.name)) for first in firsts])),
        },
        {
            "model": _words([model.name for model in models]),
            "segment": _words(SEGMENTS),
            "form": _words(FORMS),
        },
    )
    tokens = [[reading.tokens for reading in of_models] for of_models in inputs.values()]
    dataset["tokens"] = (("model", "reading"), np.array(tokens).T, {"long_name": "tokens the similarity speaks of"})
    dataset = dataset.set_coords([name for name, of in dataset.data_vars.items() if len(of.dims) == 1])
    return dataset.assign_attrs(layerscope_version=__version__, provenance=provenance())


def _place_sizes(
    dataset: xr.Dataset,
    sizes: Int[np.ndarray, "model reading segment"],
    replicates: Int[np.ndarray, "replicate model reading segment"],
    segments: dict[InputKey, list[SegmentSizes]],
) -> None:
    states = dataset["states"].values[:, None, None]
    _with_interval(dataset, "size", _OF_SIZE, sizes, replicates, "layers of the segment")
    _with_interval(dataset, "proportion", _OF_SIZE, sizes / states, replicates / states, "share of the states")
    dataset["size_bootstrap"] = (
        ("replicate", *_OF_SIZE),
        replicates.astype(np.int32),
        {"long_name": "layers of the segment, bootstrap replicates"},
    )
    scores = _each(segments, lambda of_segments: np.nan if of_segments.score is None else of_segments.score)
    words = "mean similarity within segments minus between"
    dataset["score"] = (("model", "reading"), scores, {"long_name": words})
    words = "share of replicates with the boundary in the same place"
    dataset["stability"] = (
        ("model", "reading", "boundary"),
        _each(segments, lambda of_segments: of_segments.stability),
        {"long_name": words},
    )


def _place_fits(dataset: xr.Dataset, everything: Int[np.ndarray, "replicate model reading segment"]) -> None:
    """Fit the curves to the sizes (entry 0) and to each replicate."""
    states, parameters = dataset["states"].values.astype(np.float64), dataset["parameters"].values
    shape = (len(everything), *everything.shape[2:], len(FORMS))
    intercept, slope, error, chosen = (np.full(shape, np.nan) for _ in range(4))
    for reading, place in np.ndindex(shape[1:3]):
        fits = fit_forms(everything[:, :, reading, place].astype(np.float64), states, parameters)
        for number, fit in enumerate(fits.values()):
            at = (slice(None), reading, place, number)
            intercept[at], slope[at], error[at] = fit.intercept, fit.slope, fit.error
        chosen[:, reading, place] = best_forms(fits)[:, None] == np.arange(len(FORMS))
    _with_interval(dataset, "intercept", _OF_FIT, intercept[0], intercept[1:], "layers where the curve begins")
    _with_interval(
        dataset, "slope", _OF_FIT, slope[0], slope[1:], "layers a state; logarithmic: a tenfold of parameters"
    )
    dataset["left_out_error"] = (
        _OF_FIT,
        error[0],
        {"long_name": "root mean squared error at a model left out, in layers"},
    )
    dataset["support"] = (_OF_FIT, chosen[1:].mean(axis=0), {"long_name": "share of replicates that support the form"})
    names = np.array(FORMS, dtype=object)[chosen[0].argmax(axis=-1)]
    dataset["supported"] = (("reading", "segment"), names, {"long_name": "form of the least leave-one-out error"})


def _place_claims(dataset: xr.Dataset, everything: Int[np.ndarray, "replicate model reading segment"]) -> None:
    states = dataset["states"].values
    scale, along = model_scale(states.astype(np.float64), dataset["parameters"].values)
    shares = everything[..., 0] / states[:, None]
    trend = np.stack([beginning_trend(shares[:, :, place], along) for place in range(shares.shape[2])], axis=1)
    words = f"change of the proportion of beginning layers with each tenfold of {scale}"
    _with_interval(dataset, "beginning_trend", ("reading",), trend[0], trend[1:], words)
    findings = [check_claims(everything[:, :, place], states, along) for place in range(shares.shape[2])]
    dataset.coords["claim"] = _words(list(findings[0]))
    rows = [list(of_reading.values()) for of_reading in findings]
    words = "whether no single model decides"
    for name, values, about in (
        ("holds", np.array([[one.holds for one in row] for row in rows], np.int8), "whether it is true of the sizes"),
        ("claim_support", np.array([[one.support for one in row] for row in rows]), "share of replicates that say so"),
        ("robust", np.array([[one.robust for one in row] for row in rows], np.int8), words),
        ("verdict", np.array([[one.verdict for one in row] for row in rows], object), "holds, fails or undecided"),
    ):
        dataset[name] = (("reading", "claim"), values, {"long_name": about})


def _place_matrices(dataset: xr.Dataset, inputs: dict[InputKey, list[ScalingInput]]) -> None:
    """Keep the matrices, each in the corner of the largest, NaN beyond."""
    most = int(dataset["states"].max())
    matrices = np.full((dataset.sizes["model"], len(inputs), most, most), np.nan, dtype=np.float32)
    for place, of_models in enumerate(inputs.values()):
        for number, reading in enumerate(of_models):
            states = len(reading.similarity)
            matrices[number, place, :states, :states] = reading.similarity
    dims = ("model", "reading", "layer", "layer_other")
    dataset["similarity"] = (dims, matrices, {"long_name": "similarity of layers, NaN beyond a model's last"})
    for name in ("layer", "layer_other"):
        dataset.coords[name] = (name, np.arange(most), {"long_name": "state"})


def _with_interval(
    dataset: xr.Dataset, name: str, dims: tuple[str, ...], value: np.ndarray, replicates: np.ndarray, words: str
) -> None:
    dataset[name] = (dims, value, {"long_name": words})
    for bound, ends in zip(("low", "high"), percentiles(replicates.astype(np.float64)), strict=True):
        dataset[f"{name}_{bound}"] = (dims, ends, {"long_name": f"{words}, 95 % interval, {bound}"})


def _words(values: Sequence[str]) -> np.ndarray:
    return np.array(values, dtype=object)
