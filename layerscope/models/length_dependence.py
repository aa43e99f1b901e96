"""Decide which texts may share a batch, for models in which the longest text of a batch changes the states of the others.

A family with dynamic or long rotary scaling chooses its frequencies by the longest text of a batch. A text has its true states
only together with texts of the same frequencies. Plain numbers, independent of modules.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

__all__ = ["INDEPENDENT", "LengthDependence"]


@dataclass(frozen=True)
class LengthDependence:
    """How the states of a text depend on the lengths in its batch.

    Attributes
    ----------
    borders
        Lengths in tokens, ascending. Texts up to a border are computed differently from longer ones.
    grows_after
        Above this length every length is computed differently from all others; None if there is no such length.
    alone
        True if a text depends on the other texts of its batch in another way: each text runs in its own batch.
    whole
        True if a text cannot continue a part that several texts share.

    Examples
    --------
    >>> LengthDependence(borders=(4096,)).groups(np.array([7, 4096, 4097, 9000])).tolist()
    [0, 0, 1, 1]
    >>> LengthDependence(borders=(4096,), grows_after=4096).groups(np.array([7, 4097, 4097, 9000])).tolist()
    [0, 4098, 4098, 9001]
    """

    borders: tuple[int, ...] = ()
    grows_after: int | None = None
    alone: bool = False
    whole: bool = False

    def groups(self, lengths: Int[np.ndarray, " sequence"]) -> Int[np.ndarray, " sequence"]:
        """Return a number for each sequence; only sequences with the same number may share a batch."""
        return np.arange(len(lengths)) if self.alone else self._regimes(lengths)

    def steady(self, first: int, last: int) -> bool:
        """Return whether a text that grows from `first` to `last` tokens keeps its states."""
        start, end = self._regimes(np.array([first, last]))
        return bool(start == end)

    def _regimes(self, lengths: Int[np.ndarray, " sequence"]) -> Int[np.ndarray, " sequence"]:
        regimes = np.searchsorted(np.array(self.borders, np.int64), lengths)
        if self.grows_after is not None:
            regimes = regimes + np.where(lengths > self.grows_after, lengths, 0)
        return np.asarray(regimes)


INDEPENDENT = LengthDependence()
"""All texts may share a batch, as in most families."""
