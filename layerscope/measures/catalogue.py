"""The one table of measures.

The engine, ``layerscope list measures``, the documentation and the law tests read it. A new measure is a record in
`layerscope.measures.records` and an entry in the table of an estimator. This module imports no array library.
"""

from collections.abc import Iterable

from layerscope.errors import UsageError, unknown_name
from layerscope.measures.record import Kind, Measure
from layerscope.measures.records import (
    angles,
    blocks,
    cca,
    dissimilarities,
    distances,
    features,
    geometry,
    layers,
    neighbours,
    shapes,
    spectra,
)

__all__ = ["DEFAULT_MEASURES", "MEASURES", "find_measures"]

_SUBJECTS = (
    angles,
    shapes,
    distances,
    dissimilarities,
    cca,
    neighbours,
    features,
    layers,
    spectra,
    geometry,
    blocks,
)
_RECORDS = [record for subject in _SUBJECTS for record in subject.RECORDS]

MEASURES: dict[str, Measure] = {record.name: record for kind in Kind for record in _RECORDS if record.kind is kind}
"""All measures by name, pairwise ones first."""

DEFAULT_MEASURES = ("cosine", "cosine_sequence", "cosine_centered", "cka", "variance", "norm", "max_abs")
"""Measures of an analysis by default."""


def find_measures(names: str | Iterable[str] | None = None) -> tuple[Measure, ...]:
    """Return the records of these measures, in the given order, without repeats.

    Parameters
    ----------
    names
        Names of measures, or a single one; None for `DEFAULT_MEASURES`.

    Raises
    ------
    UsageError
        For a name that is not in the table, or no name at all.

    Examples
    --------
    >>> [measure.range for measure in find_measures(["cosine", "procrustes", "norm"])]
    ['[-1, 1]', '[0, 2]', '[0, inf)']
    """
    names = [names] if isinstance(names, str) else names
    wanted = dict.fromkeys(DEFAULT_MEASURES if names is None else names)
    if not wanted:
        raise UsageError("measures is empty: name at least one measure, or leave it out for the default ones")
    for name in wanted:
        if name not in MEASURES:
            raise unknown_name("measure", name, MEASURES)
    return tuple(MEASURES[name] for name in wanted)
