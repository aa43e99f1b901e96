"""Words for the tokens that an analysis leaves out at the start of each sequence."""

from collections.abc import Iterable

import xarray as xr

__all__ = ["excluded_tokens", "excluded_words"]


def excluded_tokens(result: xr.Dataset, names: Iterable[str]) -> int:
    """Return the number of tokens that some variables of an analysis leave out at the start of each sequence."""
    return max((int(result[name].attrs.get("excluded_first", 0)) for name in names), default=0)


def excluded_words(excluded: int) -> str:
    """Return a phrase for the number of tokens left out.

    Examples
    --------
    >>> excluded_words(0), excluded_words(1), excluded_words(4)
    ('first token included', 'first token left out', 'first 4 tokens left out')
    """
    if not excluded:
        return "first token included"
    return f"first {'token' if excluded == 1 else f'{excluded} tokens'} left out"
