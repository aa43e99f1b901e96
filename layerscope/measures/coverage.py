"""How often the 95 % intervals of each measure contained the true value in simulation: the only place for these numbers.

`benchmarks/coverage.py` writes the table `coverage.csv`.
"""

import csv
from functools import cache
from importlib.resources import files
from typing import NamedTuple

__all__ = ["LEAST", "Coverage", "coverage_attributes", "coverage_of", "coverage_table"]

LEAST = 0.9
"""An analysis warns about a coverage below this value."""


class Coverage(NamedTuple):
    """How often the intervals of a measure contained two values, in simulations with one number of texts.

    Attributes
    ----------
    population
        Share of intervals with the population value, that of infinitely many texts.
    expectation
        Share of intervals with the mean of the measure for this number of texts.
    texts
        Number of texts.
    """

    population: float
    expectation: float
    texts: int


@cache
def coverage_table() -> dict[tuple[str, int], Coverage]:
    """Read the table, by measure and number of texts."""
    with files(__package__).joinpath("coverage.csv").open(encoding="utf-8") as table:
        return {
            (row["measure"], int(row["texts"])): Coverage(
                float(row["population"]), float(row["expectation"]), int(row["texts"])
            )
            for row in csv.DictReader(table)
        }


def coverage_of(measure: str, texts: int) -> Coverage | None:
    """Return the coverage of a measure for the nearest number of texts in the table.

    It is the largest number in the table that is not above `texts`, or the smallest in the table. None for a measure without
    intervals.

    Examples
    --------
    >>> coverage_of("max_abs", 20) is None
    True
    """
    tabled = sorted(number for name, number in coverage_table() if name == measure)
    if not tabled:
        return None
    nearest = max((number for number in tabled if number <= texts), default=tabled[0])
    return coverage_table()[measure, nearest]


def coverage_attributes(measure: str, texts: int) -> dict[str, int | float | str]:
    """Return the attributes for the intervals of a measure: their coverage, and a warning where it is below 0.9.

    Examples
    --------
    >>> coverage_attributes("max_abs", 20)
    {}
    """
    coverage = coverage_of(measure, texts)
    if coverage is None:
        return {}
    attributes: dict[str, int | float | str] = {"coverage": coverage.population, "coverage_texts": coverage.texts}
    if coverage.population < LEAST:
        attributes["coverage_warning"] = _warning(coverage)
    return attributes


def _warning(coverage: Coverage) -> str:
    said = f"the 95 % interval held the population value in {coverage.population:.0%} of simulations with {coverage.texts} texts"
    if coverage.expectation < LEAST:
        return said
    return f"{said} (its value depends on the number of tokens: compare only analyses of equally many)"
