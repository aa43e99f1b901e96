"""How often the 95 % intervals of each measure contained the true value in simulation: the only place for these numbers.

`benchmarks/coverage.py` writes the table `coverage.csv`.
"""

import csv
from functools import cache
from importlib.resources import files

__all__ = ["LEAST", "coverage_attributes", "coverage_of", "coverage_table"]

LEAST = 0.9
"""An analysis warns about a coverage below this value."""


@cache
def coverage_table() -> dict[tuple[str, int], tuple[float, float]]:
    """Read the table: by measure and number of texts, the coverage of the population value and of the expectation."""
    with files(__package__).joinpath("coverage.csv").open(encoding="utf-8") as table:
        return {
            (row["measure"], int(row["texts"])): (float(row["population"]), float(row["expectation"]))
            for row in csv.DictReader(table)
        }


def coverage_of(measure: str, texts: int) -> tuple[float, int] | None:
    """Return how often the intervals of a measure contained the population value, and the number of texts of that simulation.

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
    return coverage_table()[measure, nearest][0], nearest


def coverage_attributes(measure: str, texts: int) -> dict[str, int | float | str]:
    """Return the attributes for the intervals of a measure: their coverage, and a warning where it is below 0.9.

    Examples
    --------
    >>> coverage_attributes("max_abs", 20)
    {}
    """
    covered = coverage_of(measure, texts)
    if covered is None:
        return {}
    share, tabled = covered
    attributes: dict[str, int | float | str] = {"coverage": share, "coverage_texts": tabled}
    if share < LEAST:
        attributes["coverage_warning"] = (
            f"the 95 % interval held the population value in {share:.0%} of simulations with {tabled} texts"
        )
    return attributes
