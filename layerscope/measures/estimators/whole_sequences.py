"""Measures of one sequence at a time, averaged over sequences.

Whole sequences are held: all that an eighth of the memory takes, else a seeded sample. This module knows rows and sums by
sequence; it knows no labels and no files.
"""

from collections.abc import Callable
from typing import ClassVar

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

_Kernel = Callable[[torch.Tensor], np.ndarray]


class WholeSequences(Estimator):
    """Whole sequences held, and what one of them gives.

    Parameters
    ----------
    context
        What is analysed.
    sample
        Rows held; not used.
    wanted
        Names of the measures that will be asked for.
    """

    kernels: ClassVar[dict[str, _Kernel]] = {"matrix_entropy_sequence": sequence_entropy}

    def __init__(self, context: AnalysisContext, sample: RowSample, wanted: frozenset[str]) -> None:
        super().__init__(context, sample, wanted)
        self.held = SequenceSample(context.options.memory // _SHARE // context.row_bytes, context.options.seed)

    def update(self, rows: StateRows, other: StateRows | None) -> None:
        """Take some rows."""
        self.held.update(rows, other)

    def merge(self, part: "WholeSequences") -> None:
        """Add another's rows."""
        self.held.merge(part.held)

    def compute(self, name: str, kernel: _Kernel) -> Estimate:
        """Compute the mean over sequences of the kernel of each."""
        entropies = zip(*([kernel(states) for states in sides] for sides in self.held.sequences()), strict=True)
        results = [self._mean(axis, np.stack(side)) for axis, side in zip(self.context.axes, entropies, strict=True)]
        where, sample = describe_sample(len(self.held), len(self.held.seen), self.context.options.seed, "sequences")
        details: Details = {"sequences": len(self.held)}
        details |= {
            name: value for name, value in sample.items() if name != "sample"
        }  # which is the number of sequences
        return Estimate.of_layers(
            [result.value for result in results],
            self.held.rows,
            f"mean of the entropy of each of {where}",
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
