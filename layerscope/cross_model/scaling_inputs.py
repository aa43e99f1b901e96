"""Select the similarity matrices that a scaling compares: one for each model, measure and number of excluded first tokens.

Analyses of one model made with ``--exclude-first 0`` and ``1`` give two inputs for each measure;
``cosine_sequence_without_first`` gives the second input of ``cosine_sequence`` from one file. Analyses that cannot be
compared are refused by name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import xarray as xr

from layerscope.errors import MeasureError, unknown_name
from layerscope.segmentation.analysis_matrices import (
    count_of,
    is_between,
    pairwise_measures,
    require_analysis,
    upper_end,
)
from layerscope.segmentation.segmentation import ASYMMETRY
from layerscope.segmentation.similarity import is_distance, replicates_of, similarity_of

__all__ = ["InputKey", "ScalingInput", "ScalingModel", "scaling_inputs", "scaling_models"]

_COMPANIONS = {"cosine_sequence_without_first": ("cosine_sequence", 1)}
"""Measures that are the same as another measure with the first tokens left out."""

InputKey = tuple[str, int]
"""A measure, and the number of tokens left out at the start of each sequence."""


@dataclass(frozen=True)
class ScalingInput:
    """One similarity matrix of one model.

    Attributes
    ----------
    similarity
        ``[layer, layer_other]``.
    replicates
        ``[replicate, layer, layer_other]``.
    tokens
        Number of tokens used; -1 where the analysis does not record it.
    """

    similarity: xr.DataArray
    replicates: xr.DataArray
    tokens: int


@dataclass(frozen=True)
class ScalingModel:
    """One model of a scaling, with its analyses.

    Attributes
    ----------
    name, architecture, backend, texts
        As in its captures.
    depth
        Number of blocks.
    parameters
        Number of parameters; NaN for captures of an older version without it.
    analyses
        Analyses by the number of tokens left out at the start of each sequence.
    """

    name: str
    architecture: str
    backend: str
    texts: str
    depth: int
    parameters: float
    analyses: dict[int, xr.Dataset]

    @property
    def states(self) -> int:
        """Number of states, T+1; the sizes of segments sum to it."""
        return self.depth + 1


def scaling_models(analyses: Sequence[tuple[str, xr.Dataset]]) -> list[ScalingModel]:
    """Group analyses by model, and return the models in ascending order of size.

    Parameters
    ----------
    analyses
        Pairs of a title for messages and an analysis.

    Raises
    ------
    MeasureError
        An analysis compares two captures, is of a rearranged model or of another stream, lacks states or the name of the
        model, or is given twice; the models were analysed with different numbers of tokens left out; there is only one model.
    """
    by_name: dict[str, ScalingModel] = {}
    for title, result in analyses:
        _require_whole(title, result)
        name, excluded = str(result.attrs["model"]), _excluded_first(title, result)
        member = by_name.setdefault(name, _member(title, name, result))
        if excluded in member.analyses:
            raise MeasureError(f"{title} is a second analysis of {name} with --exclude-first {excluded}: give one")
        member.analyses[excluded] = result
    models = list(by_name.values())
    if len(models) < 2:
        raise MeasureError(f"all analyses are of {models[0].name}: give analyses of at least two models")
    for member in models[1:]:
        if member.analyses.keys() != models[0].analyses.keys():
            raise MeasureError(
                f"{models[0].name} was analysed with --exclude-first {_numbers(models[0].analyses)}, {member.name} with "
                f"{_numbers(member.analyses)}: analyze all models with the same value"
            )
    known = not any(np.isnan(member.parameters) for member in models)
    return sorted(models, key=lambda one: (one.parameters if known else one.depth, one.depth, one.name))


def scaling_inputs(models: Sequence[ScalingModel], measure: str | None = None) -> dict[InputKey, list[ScalingInput]]:
    """Return the similarity matrices that all models have, one entry for each model.

    Parameters
    ----------
    models
        From `scaling_models`.
    measure
        A measure; by default all symmetric measures that can be converted to similarities.

    Raises
    ------
    UsageError
        No analysis contains `measure`.
    MeasureError
        The models have no measure in common, or an analysis does not contain replicates.
    """
    measures = [set.intersection(*(_measures(result) for result in model.analyses.values())) for model in models]
    if measure is not None and not any(measure in names for names in measures):
        known = sorted(set.union(*measures) - set(_COMPANIONS))
        raise unknown_name("measure in these analyses", measure, known)
    common = set.intersection(*measures)
    if not common or measure not in (None, *common):
        _refuse_different(models, measures, measure)
    wanted = (
        common
        if measure is None
        else common & {measure, *(name for name, of in _COMPANIONS.items() if of[0] == measure)}
    )
    tables = [_inputs(model, wanted) for model in models]
    order = {name: index for index, name in enumerate(pairwise_measures(next(iter(models[0].analyses.values()))))}
    keys = sorted(tables[0], key=lambda key: (order[key[0]], key[1]))
    return {key: [table[key] for table in tables] for key in keys}


def _refuse_different(models: Sequence[ScalingModel], measures: Sequence[set[str]], measure: str | None) -> None:
    """Raise with the names of two models with different measures, one of them without a requested `measure`."""
    names = [", ".join(sorted(of)) or "no symmetric measure in all its analyses" for of in measures]
    for one, other in combinations(range(len(measures)), 2):
        if measures[one] != measures[other] and (
            measure is None or (measure in measures[one]) != (measure in measures[other])
        ):
            raise MeasureError(
                f"{models[one].name} was analysed by {names[one]}, {models[other].name} by {names[other]}: "
                "analyze all models with the same --measures"
            )
    raise MeasureError("the analyses contain no symmetric similarity: analyze again with --measures cosine")


def _require_whole(title: str, result: xr.Dataset) -> None:
    """Raise unless an analysis covers all states of one model with its blocks in their own order."""
    if is_between(result):
        raise MeasureError(f"{title} compares two captures: scaling takes analyses of one capture each")
    depth = count_of(title, result.attrs, "num_blocks")
    if "model" not in result.attrs or depth is None:
        raise MeasureError(f"{title} does not record the name of the model: analyze a capture file")
    schedule = result.attrs.get("schedule", "identity")
    if schedule != "identity":
        raise MeasureError(
            f"{title} is of {result.attrs['model']} under {schedule}: scaling compares models with their blocks in order"
        )
    stream = result.attrs.get("stream", "resid")
    if stream != "resid":
        raise MeasureError(
            f"{title} is of stream {stream}, which has blocks in place of states: scaling compares states, "
            "so analyze again without --stream"
        )
    require_analysis(result, "layer", "layer_other")
    if result["layer"].values.tolist() != list(range(depth + 1)):
        raise MeasureError(
            f"{title} contains {result.sizes['layer']} of the {depth + 1} states of {result.attrs['model']}: "
            "capture again without --layers, as sizes count all of them"
        )


def _member(title: str, name: str, result: xr.Dataset) -> ScalingModel:
    attrs = result.attrs
    parameters = count_of(title, attrs, "parameters")
    return ScalingModel(
        name,
        str(attrs.get("architecture", "")),
        str(attrs.get("backend", "")),
        str(attrs.get("texts", "")),
        int(attrs["num_blocks"]),
        np.nan if parameters is None else float(parameters),
        {},
    )


def _excluded_first(title: str, result: xr.Dataset) -> int:
    names = pairwise_measures(result)
    if not names:
        raise MeasureError(f"{title} contains no matrix over pairs of layers: analyze again with --measures cosine")
    return count_of(title, result[names[0]].attrs, "excluded_first", least=0) or 0


def _numbers(excluded: dict[int, xr.Dataset]) -> str:
    return " and ".join(str(number) for number in sorted(excluded))


def _measures(result: xr.Dataset) -> set[str]:
    """Return the measures of an analysis that can be segmented."""
    return {name for name in pairwise_measures(result) if _has_segments(result[name])}


def _has_segments(matrix: xr.DataArray) -> bool:
    """Return whether a matrix is symmetric, and a similarity or a distance with an upper end; NaN is allowed here."""
    values = np.asarray(matrix, dtype=np.float64)
    if not np.allclose(values, values.T, rtol=0.0, atol=ASYMMETRY, equal_nan=True):
        return False
    return not is_distance(matrix) or upper_end(matrix) is not None


def _inputs(model: ScalingModel, measures: set[str]) -> dict[InputKey, ScalingInput]:
    """Return the matrices of one model; a full analysis replaces a companion of the same key."""
    inputs: dict[InputKey, ScalingInput] = {}
    for name in measures & _COMPANIONS.keys():
        if 0 in model.analyses:
            inputs[_COMPANIONS[name]] = _input(model, 0, name)
    for excluded in model.analyses:
        for name in measures - _COMPANIONS.keys():
            inputs[name, excluded] = _input(model, excluded, name)
    return inputs


def _input(model: ScalingModel, excluded: int, name: str) -> ScalingInput:
    result = model.analyses[excluded]
    replicates = replicates_of(result, name)
    if replicates is None:
        raise MeasureError(
            f"the analysis of {model.name} contains no replicates of {name}: analyze again with --bootstrap 200"
        )
    return ScalingInput(similarity_of(result, name), replicates, int(result[name].attrs.get("tokens", -1)))
