"""Compare layers by kernels of distances: CKA with a radial basis function, and distance correlation.

Both are the criterion of `layerscope.measures.kernels.gram` with another kernel, so half-samples are cheap.
"""

from abc import abstractmethod
from collections.abc import Callable

import numpy as np
import torch

from layerscope.measures.comparisons.comparison import Comparison, Matrices, Matrix
from layerscope.measures.comparisons.token_sample import TokenSample
from layerscope.measures.kernels.distances import Distance, Gaussian, Kernel, median_distance
from layerscope.measures.kernels.gram import GramSums
from layerscope.measures.kernels.undefined import Undefined
from layerscope.measures.record import Measure

__all__ = ["WIDTH", "DistanceCorrelation", "GaussianCka"]

WIDTH = 0.8
"""Width of the radial basis function as a fraction of the median distance: the largest that Kornblith et al. tested."""


class HsicComparison(Comparison):
    """HSIC of pairs of layers over the geometric mean of the layers' own HSIC.

    Attributes
    ----------
    debiased
        Whether to use the debiased estimator, HSIC_1 of Song et al. 2012.
    """

    debiased: bool

    @abstractmethod
    def kernels(self, held: TokenSample) -> list[Kernel]:
        """Return the kernel of each side's layers."""

    def matrix(self, held: TokenSample, measure: Measure) -> Matrix:
        """See `Comparison`."""
        found: np.ndarray = self.halves(held, measure, np.zeros(len(held), np.int64), np.ones((1, 1)))[0]
        return found

    def halves(self, held: TokenSample, measure: Measure, group: np.ndarray, masks: np.ndarray) -> Matrices:
        """See `Comparison`; the kernels are those of all tokens."""
        kernels, sides = self.kernels(held), held.sides
        second = None if held.alone else sides[1]
        sums = GramSums(sides[0], second, group, masks.shape[1], kernel=kernels[0], kernel_other=kernels[-1])
        criterion = sums.criterion(masks, debiased=self.debiased)
        for axis, own in ((held.axes[0], criterion.own), (held.axes[-1], criterion.own_other)):
            if np.isnan(own).any():
                raise Undefined(f"it needs {measure.least_tokens} tokens")
            for index in np.flatnonzero(~(own > 0).all(0)).tolist():
                raise Undefined("its tokens are all equally alike", axis.describe(index))
        return criterion.normalized()


class GaussianCka(HsicComparison):
    """CKA with a radial basis function, whose width is a fraction of each layer's median distance."""

    debiased = True
    prepare: Callable[..., float] = staticmethod(median_distance)

    def kernels(self, held: TokenSample) -> list[Kernel]:
        """See `HsicComparison`."""
        widths = [WIDTH * torch.tensor(side, dtype=torch.float64) for side in held.each(self.prepare)]
        for axis, width in zip(held.axes, widths, strict=True):
            for index in (width == 0).nonzero().flatten().tolist():
                raise Undefined("at least half of all pairs of its tokens are equal", axis.describe(index))
        return [Gaussian(width) for width in widths]


class DistanceCorrelation(HsicComparison):
    """The root of the correlation of doubly centred distances."""

    debiased = False

    def kernels(self, held: TokenSample) -> list[Kernel]:
        """See `HsicComparison`."""
        return [Distance() for _ in held.sides]

    def halves(self, held: TokenSample, measure: Measure, group: np.ndarray, masks: np.ndarray) -> Matrices:
        """See `Comparison`."""
        found: np.ndarray = np.sqrt(
            super().halves(held, measure, group, masks).clip(min=0)
        )  # rounding may give less than zero
        return found
