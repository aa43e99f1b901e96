"""Estimator of the measures of single sequences, averaged over sequences.

Complete sequences are kept in memory: all, or a seeded sample that fits into an eighth of it.
"""

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from layerscope.measures.accumulators.row_sample import RowSample
from layerscope.measures.accumulators.sequence_sample import SequenceSample
from layerscope.measures.context import AnalysisContext, Axis
from layerscope.measures.estimate import Details, Estimate, describe_sample
from layerscope.measures.estimators.cosines import Resampled, resample
from layerscope.measures.estimators.estimator import Estimator
from layerscope.measures.kernels.sequence_entropy import sequence_entropy
from layerscope.measures.kernels.undefined import Undefined
from layerscope.states import StateRows

__all__ = ["WholeSequences"]

_SHARE = 8


class _Kernel(NamedTuple):
    """The measure of one sequence in all layers, and its name as text for the file."""

    compute: Callable[[torch.Tensor], np.ndarray]
    description: str


class WholeSequences(Estimator):
    """Means over sequences of a measure of one complete sequence.

    Parameters
    ----------
    context
        The analysis.
    sample
        Not used.
    wanted
        Names of all measures of the analysis.
    """

    kernels: ClassVar[dict[str, _Kernel]] = {"matrix_entropy_sequence": _Kernel(sequence_entropy, "entropy")}

    def __init__(self, context: AnalysisContext, sample: RowSample, wanted: frozenset[str]) -> None:
        super().__init__(context, sample, wanted)
        self.kept = SequenceSample(context.options.memory // _SHARE // context.row_bytes, context.options.seed)

    def update(self, rows: StateRows, other: StateRows | None) -> None:
        """Add some rows."""
        self.kept.update(rows, other)

    def merge(self, part: "WholeSequences") -> None:
        """Add the rows of another accumulator."""
        self.kept.merge(part.kept)

    def compute(self, name: str, kernel: _Kernel) -> Estimate:
        """Compute the mean over sequences of the measure of each."""
        values = zip(*([kernel.compute(states) for states in sides] for sides in self.kept.sequences()), strict=True)
        results = [self._mean(axis, np.stack(side)) for axis, side in zip(self.context.axes, values, strict=True)]
        where, sample = describe_sample(len(self.kept), len(self.kept.seen), self.context.options.seed, "sequences")
        details: Details = {"sequences": len(self.kept)}
        details |= {
            name: value for name, value in sample.items() if name != "sample"
        }  # which is the number of sequences
        return Estimate.of_layers(
            [result.value for result in results],
            self.kept.rows,
            f"mean of the {kernel.description} of each of {where}",
            details,
            replicates=[result.replicates for result in results],
            resampling=results[0].resampling,
        )

    def _mean(self, axis: Axis, entropy: Float[np.ndarray, "sequence layer"]) -> Resampled:
        usable = ~np.isnan(entropy).any(1)
        if not usable.any():
            layer = int(np.isnan(entropy).sum(0).argmax())
            raise Undefined("it is zero in every token", axis.describe(layer))
        return resample(np.where(usable[:, None], entropy, 0), usable.astype(np.float64), self.context)
