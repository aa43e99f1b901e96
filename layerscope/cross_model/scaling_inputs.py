"""Analyses of several models, sorted into readings: one similarity, the first tokens in or out, of every model.

A *reading* is a measure together with how many tokens were left out at each sequence's start. Analyses of one model made
with ``--exclude-first 0`` and ``1`` give two readings of each measure, and ``cosine_sequence_without_first`` is the
second reading of ``cosine_sequence`` within one file. This module decides what can be laid side by side, and refuses the
rest by name; it segments nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import xarray as xr

from layerscope.errors import MeasureError, unknown_name
from layerscope.segmentation.segmentation import ASYMMETRY
from layerscope.segmentation.similarity import (
    count_of,
    is_between,
    is_distance,
    pairwise_measures,
    replicates_of,
    require_analysis,
    similarity_of,
    upper_end,
)

__all__ = ["InputKey", "ScalingInput", "ScalingModel", "scaling_inputs", "scaling_models"]

_COMPANIONS = {"cosine_sequence_without_first": ("cosine_sequence", 1)}
"""Measures of one file that are another reading of another measure."""

InputKey = tuple[str, int]
"""A measure, and how many tokens were left out at each start."""


@dataclass(frozen=True)
class ScalingInput:
    """One similarity of one model.

    Attributes
    ----------
    similarity
        ``[layer, layer_other]``.
    replicates
        ``[replicate, layer, layer_other]``.
    tokens
        How many tokens it speaks of; -1 where the analysis does not say.
    """

    similarity: xr.DataArray
    replicates: xr.DataArray
    tokens: int


@dataclass(frozen=True)
class ScalingModel:
    """One model among those compared, with all analyses of it.

    Attributes
    ----------
    name, architecture, backend, texts
        As its captures call them.
    depth
        Blocks.
    parameters
        NaN where the captures, written by an older version, do not say.
    analyses
        By the number of tokens left out at each start.
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
        """T+1: what sizes of segments sum to."""
        return self.depth + 1


def scaling_models(analyses: Sequence[tuple[str, xr.Dataset]]) -> list[ScalingModel]:
    """Join the analyses of each model, the smallest model first.

    Parameters
    ----------
    analyses
        Each with the words that name it in a message.

    Raises
    ------
    MeasureError
        An analysis compares two captures, is of a rearranged model, lacks states, says no model, or comes twice; the
        models were not analysed with the same numbers of tokens left out; there is only one.
    """
    members: dict[str, ScalingModel] = {}
    for title, result in analyses:
        _require_whole(title, result)
        name, excluded = str(result.attrs["model"]), _excluded_first(title, result)
        member = members.setdefault(name, _member(title, name, result))
        if excluded in member.analyses:
            raise MeasureError(
                f"{title} is a second analysis of {name} with --exclude-first {excluded}: give each model once"
            )
        member.analyses[excluded] = result
    found = list(members.values())
    if len(found) < 2:
        raise MeasureError(f"all analyses are of {found[0].name}: scales are compared between two models or more")
    for member in found[1:]:
        if member.analyses.keys() != found[0].analyses.keys():
            raise MeasureError(
                f"{found[0].name} was analysed with --exclude-first {_spoken(found[0].analyses)}, {member.name} with "
                f"{_spoken(member.analyses)}: analyze all models with the same"
            )
    known = not any(np.isnan(member.parameters) for member in found)
    return sorted(found, key=lambda one: (one.parameters if known else one.depth, one.depth, one.name))


def scaling_inputs(members: Sequence[ScalingModel], measure: str | None = None) -> dict[InputKey, list[ScalingInput]]:
    """Return the readings that all models have, each with one entry a model.

    Parameters
    ----------
    members
        From `scaling_models`.
    measure
        One measure alone; else all symmetric ones that can be read as similarities.

    Raises
    ------
    UsageError
        No analysis holds `measure`.
    MeasureError
        The models have no measure in common, or one holds no replicates.
    """
    held = [set.intersection(*(_measures(result) for result in member.analyses.values())) for member in members]
    if measure is not None and not any(measure in names for names in held):
        known = sorted(set.union(*held) - set(_COMPANIONS))
        raise unknown_name("measure in these analyses", measure, known)
    common = set.intersection(*held)
    if not common or measure not in (None, *common):
        _refuse_different(members, held, measure)
    wanted = (
        common
        if measure is None
        else common & {measure, *(name for name, of in _COMPANIONS.items() if of[0] == measure)}
    )
    tables = [_readings(member, wanted) for member in members]
    order = {name: place for place, name in enumerate(pairwise_measures(next(iter(members[0].analyses.values()))))}
    keys = sorted(tables[0], key=lambda key: (order[key[0]], key[1]))
    return {key: [table[key] for table in tables] for key in keys}


def _refuse_different(members: Sequence[ScalingModel], held: Sequence[set[str]], measure: str | None) -> None:
    """Name two models that do not have the same measures, one of them without `measure` if that was asked for."""
    names = [", ".join(sorted(of)) or "no symmetric measure in all its analyses" for of in held]
    for one, other in combinations(range(len(held)), 2):
        if held[one] != held[other] and (measure is None or (measure in held[one]) != (measure in held[other])):
            raise MeasureError(
                f"{members[one].name} was analysed by {names[one]}, {members[other].name} by {names[other]}: "
                "analyze all models with the same --measures"
            )
    raise MeasureError("the analyses hold no symmetric similarity: analyze again with --measures cosine")


def _require_whole(title: str, result: xr.Dataset) -> None:
    """Refuse an analysis that does not speak of all states of one model as it is."""
    if is_between(result):
        raise MeasureError(f"{title} compares two captures: scaling takes analyses of one capture each")
    depth = count_of(title, result.attrs, "num_blocks")
    if "model" not in result.attrs or depth is None:
        raise MeasureError(f"{title} does not say of which model it is: analyze a capture file")
    schedule = result.attrs.get("schedule", "identity")
    if schedule != "identity":
        raise MeasureError(
            f"{title} is of {result.attrs['model']} under {schedule}: scaling compares models as they are"
        )
    require_analysis(result, "layer", "layer_other")
    if result["layer"].values.tolist() != list(range(depth + 1)):
        raise MeasureError(
            f"{title} holds {result.sizes['layer']} of the {depth + 1} states of {result.attrs['model']}: "
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
        raise MeasureError(f"{title} holds no matrix over pairs of layers: analyze again with --measures cosine")
    return count_of(title, result[names[0]].attrs, "excluded_first", least=0) or 0


def _spoken(excluded: dict[int, xr.Dataset]) -> str:
    return " and ".join(str(number) for number in sorted(excluded))


def _measures(result: xr.Dataset) -> set[str]:
    """Return the measures of an analysis in which segments can be sought."""
    return {name for name in pairwise_measures(result) if _has_segments(result[name])}


def _has_segments(matrix: xr.DataArray) -> bool:
    """Tell whether it is symmetric, and a similarity or a distance with an upper end; NaN is left to be complained of."""
    values = np.asarray(matrix, dtype=np.float64)
    if not np.allclose(values, values.T, rtol=0.0, atol=ASYMMETRY, equal_nan=True):
        return False
    return not is_distance(matrix) or upper_end(matrix) is not None


def _readings(member: ScalingModel, measures: set[str]) -> dict[InputKey, ScalingInput]:
    """Return the readings of one model; a whole analysis comes before a companion that says the same."""
    found: dict[InputKey, ScalingInput] = {}
    for name in measures & _COMPANIONS.keys():
        if 0 in member.analyses:
            found[_COMPANIONS[name]] = _reading(member, 0, name)
    for excluded in member.analyses:
        for name in measures - _COMPANIONS.keys():
            found[name, excluded] = _reading(member, excluded, name)
    return found


def _reading(member: ScalingModel, excluded: int, name: str) -> ScalingInput:
    result = member.analyses[excluded]
    replicates = replicates_of(result, name)
    if replicates is None:
        raise MeasureError(
            f"the analysis of {member.name} holds no replicates of {name}: analyze again with --bootstrap 200"
        )
    return ScalingInput(similarity_of(result, name), replicates, int(result[name].attrs.get("tokens", -1)))
