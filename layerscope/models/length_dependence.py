"""Which texts may share a batch, for models that treat a text differently by the length of its batch.

A family with dynamic or long rotary scaling chooses its frequencies by the longest text of a batch. A text has its true
states only beside texts for which the model chooses the same. Plain numbers: knows no module.
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
        Lengths in tokens, ascending. A text of at most that length is computed differently from a longer one.
    grows_after
        Above this length every length is computed differently from every other; None where that is not so.
    alone
        True where a text depends on its neighbours in a batch in any other way: each text runs alone.

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

    def groups(self, lengths: Int[np.ndarray, " sequence"]) -> Int[np.ndarray, " sequence"]:
        """Return a number for each sequence; only sequences of the same number may share a batch."""
        return np.arange(len(lengths)) if self.alone else self._regimes(lengths)

    def steady(self, first: int, last: int) -> bool:
        """Whether a text that grows from `first` to `last` tokens keeps the states it had."""
        start, end = self._regimes(np.array([first, last]))
        return bool(start == end)

    def _regimes(self, lengths: Int[np.ndarray, " sequence"]) -> Int[np.ndarray, " sequence"]:
        regimes = np.searchsorted(np.array(self.borders, np.int64), lengths)
        if self.grows_after is not None:
            regimes = regimes + np.where(lengths > self.grows_after, lengths, 0)
        return np.asarray(regimes)


INDEPENDENT = LengthDependence()
"""Any texts may share a batch, as in most families."""
