"""Random halves of the sequences of a sample: replicates for measures that sums over sequences cannot give."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

from layerscope.measures.accumulators.row_sample import RowSample
from layerscope.measures.context import AnalysisContext
from layerscope.measures.estimate import Details
from layerscope.measures.kernels.bootstrap import Resampling, deal_groups, half_masks

__all__ = ["HalfSamples"]


class HalfSamples:
    """Random halves of the sequences, one for each replicate.

    Parameters
    ----------
    context
        The analysis, with the number of replicates and the seed.
    sample
        The sample of rows.
    rows
        Rows of the sample that are measured.

    Attributes
    ----------
    group
        Group of each measured row.
    masks
        The groups in each half.
    details, resampling
        For the estimate: the size of an incomplete sample, and how the replicates are drawn.

    Raises
    ------
    MeasureError
        There are fewer than four sequences.
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
        """Yield the rows of each half."""
        for mask in self.masks:
            yield np.flatnonzero(mask[self.group])
