"""Replicates on random halves of the sequences of the rows held, for measures that no sums of sequences give.

This module knows rows held and how replicates are drawn; it knows no formula.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

from layerscope.measures.accumulators.row_sample import RowSample
from layerscope.measures.context import AnalysisContext
from layerscope.measures.estimate import Details
from layerscope.measures.kernels.bootstrap import Resampling, deal_groups, half_masks

__all__ = ["HalfSamples"]


class HalfSamples:
    """Random halves of the sequences, as many as the context wants replicates.

    Parameters
    ----------
    context
        Says how many and with which seed.
    sample
        The rows held.
    rows
        Those of them that are measured.

    Attributes
    ----------
    group
        Of each row measured.
    masks
        Which groups are in each half.
    details, resampling
        For the estimate: the size of the sample where it is not all there is, and how the replicates are made.

    Raises
    ------
    MeasureError
        With fewer than four sequences.
    """

    def __init__(
        self, context: AnalysisContext, sample: RowSample, rows: Int[np.ndarray, " row"] | slice = slice(None)
    ) -> None:
        self.group, groups = deal_groups(sample.sequence_index[rows], context.options.seed)
        self.masks: Float[np.ndarray, "replicate group"] = half_masks(
            groups, context.options.bootstrap, context.options.seed
        )
        self.details: Details = {} if sample.complete else {"interval_sample": sample.kept}
        self.resampling = Resampling(groups, halves=True)

    def rows(self) -> Iterator[Int[np.ndarray, " row"]]:
        """Give the rows of each half."""
        for mask in self.masks:
            yield np.flatnonzero(mask[self.group])
