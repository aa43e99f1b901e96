"""Names of the variables that accompany a measure in an analysis: intervals, replicates, baselines.

The only place for these names, and for telling measures from derived variables.
"""

__all__ = ["DERIVED", "is_derived"]

DERIVED = {
    "low": "95 % interval, low",
    "high": "95 % interval, high",
    "bootstrap": "bootstrap replicates",
    "null": "by chance",
    "null_low": "by chance, 95 % interval, low",
    "null_high": "by chance, 95 % interval, high",
    "ceiling": "split-half reliability over features",
}
"""Suffix of the variable (`cka_null`), and of its long name."""

_ENDINGS = tuple(f"_{ending}" for ending in DERIVED)


def is_derived(name: object) -> bool:
    """Return whether a variable of an analysis is derived from a measure.

    Examples
    --------
    >>> [name for name in ("cka", "cka_low", "cka_null_high", "norm_other", "norm_other_low") if not is_derived(name)]
    ['cka', 'norm_other']
    """
    return str(name).endswith(_ENDINGS)
