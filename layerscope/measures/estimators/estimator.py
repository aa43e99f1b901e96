"""What every family of measures is: an accumulator with a place in the passes over the file.

This module knows no formula.
"""

from abc import ABC, abstractmethod
from typing import TypeVar

from layerscope.measures.accumulators.row_sample import RowSample
from layerscope.measures.context import AnalysisContext, Estimate
from layerscope.states import StateRows

__all__ = ["Estimator"]

_Own = TypeVar("_Own", bound="Estimator")


class Estimator(ABC):
    """An accumulator that computes some measures which share their sums.

    Any chunking, any order and any tree of merges gives the same answer.

    Parameters
    ----------
    context
        What is analysed.
    sample
        Token rows held in memory, for estimators that cannot do with sums; filled in the first pass.
    wanted
        Names of the measures that will be asked for.
    """

    def __init__(self, context: AnalysisContext, sample: RowSample, wanted: frozenset[str]) -> None:
        self.context = context
        self.sample = sample
        self.wanted = wanted

    @property
    def share_bytes(self) -> int:
        """The bytes of another accumulator, so that threads may share the work; 0 where they had better not."""
        return 0

    @abstractmethod
    def update(self, rows: StateRows, other: StateRows | None) -> None:
        """Take some rows, and the same tokens' rows of the second capture where there is one."""

    @abstractmethod
    def merge(self: _Own, part: _Own) -> None:
        """Add what another accumulator of the same context has taken in this pass."""

    @abstractmethod
    def estimate(self, name: str) -> Estimate:
        """Compute one of the family's measures from what was taken."""

    def empty_like(self: _Own, sample: RowSample) -> _Own:
        """Make an empty accumulator of the same context and pass, to take a share of the rows and be merged."""
        return type(self)(self.context, sample, self.wanted)

    def end_pass(self) -> bool:
        """Say whether the rows are needed once more; all of them were seen once now."""
        return False
