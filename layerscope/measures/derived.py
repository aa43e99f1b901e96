"""What stands beside a measure in an analysis, and what it is called there: the one place for these names.

Whoever asks which variables of an analysis are measures asks here. It knows names only.
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
"""What follows a measure's name (`cka_null`), and what follows its long name."""

_ENDINGS = tuple(f"_{ending}" for ending in DERIVED)


def is_derived(name: object) -> bool:
    """Tell whether a variable of an analysis stands beside a measure and is none itself.

    Examples
    --------
    >>> [name for name in ("cka", "cka_low", "cka_null_high", "norm_other", "norm_other_low") if not is_derived(name)]
    ['cka', 'norm_other']
    """
    return str(name).endswith(_ENDINGS)
