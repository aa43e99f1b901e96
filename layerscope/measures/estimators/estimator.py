"""Base class of the estimators: an accumulator of rows with a table of the measures it computes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from layerscope.measures.accumulators.row_sample import RowSample
from layerscope.measures.context import AnalysisContext
from layerscope.measures.estimate import Estimate
from layerscope.states import StateRows

__all__ = ["Estimator"]

_Own = TypeVar("_Own", bound="Estimator")


class Estimator(ABC):
    """An accumulator that computes several measures from the same sums.

    The result does not depend on chunking, order or merging.

    Parameters
    ----------
    context
        The analysis.
    sample
        Token rows in memory, for measures that sums cannot give; filled in the first pass.
    wanted
        Names of all measures of the analysis.
    """

    kernels: ClassVar[Mapping[str, Any]]
    """The only way from the name of a measure to its formula. Each estimator has its own type of entry, for its `compute`."""
    needs_exact_sample: ClassVar[bool] = False
    """Whether the sample must contain all of up to 4,096 rows, in any memory."""

    def __init__(self, context: AnalysisContext, sample: RowSample, wanted: frozenset[str]) -> None:
        self.context = context
        self.sample = sample
        self.wanted = wanted

    @property
    def share_bytes(self) -> int:
        """Bytes of another accumulator, so that threads can share the work; 0 if sharing does not pay."""
        return 0

    @abstractmethod
    def update(self, rows: StateRows, other: StateRows | None) -> None:
        """Add some rows, and the rows of the same tokens in the second capture if there is one."""

    @abstractmethod
    def merge(self: _Own, part: _Own) -> None:
        """Add the rows that another accumulator of the same analysis has processed in this pass."""

    @abstractmethod
    def compute(self, name: str, kernel: Any) -> Estimate:
        """Compute a measure from its entry of `kernels`."""

    def estimate(self, name: str) -> Estimate:
        """Compute a measure of all rows added."""
        return self.compute(name, self.kernels[name])

    def empty_like(self: _Own, sample: RowSample) -> _Own:
        """Return an empty accumulator of the same analysis and pass, for a share of the rows, to be merged later."""
        return type(self)(self.context, sample, self.wanted)

    def end_pass(self) -> bool:
        """End a pass over all rows; return whether another is needed."""
        return False
