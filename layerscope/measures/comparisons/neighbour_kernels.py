"""Kernels that are zero but for nearest neighbours, aligned by the debiased criterion of whole kernels.

This module knows tokens held; it knows no labels and no files.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

from layerscope.measures.comparisons.all_pairs import all_pairs
from layerscope.measures.comparisons.comparison import Comparison, Matrix
from layerscope.measures.comparisons.neighbours import NEIGHBOURS, NearestTokens, distinct_tokens, nearest_tokens
from layerscope.measures.comparisons.token_sample import TokenSample, map_layers
from layerscope.measures.estimate import Details
from layerscope.measures.kernels.undefined import Undefined
from layerscope.measures.record import Measure

__all__ = ["NeighbourKernels"]


class NeighbourKernels(Comparison):
    """The debiased criterion of kernels restricted to the neighbours that two layers share."""

    def __init__(self) -> None:
        super().__init__(
            "HSIC_1 of Song et al. 2012 (eq. 5) of cosines with the nearest neighbours that both layers share",
            neighbours=NEIGHBOURS,
        )
        self.prepare = _kernels

    def details(self, tokens: TokenSample) -> Details:
        """See `Comparison`; also the number of distinct tokens, where some are equal."""
        return dict(self.settings) | distinct_tokens(tokens)

    def matrix(self, held: TokenSample, measure: Measure) -> Matrix:
        """See `Comparison`."""
        kernels = held.once(_kernels)
        first, second = kernels[0], kernels[-1]
        return all_pairs(
            held.shape,
            lambda layer, other: first[layer].aligned(second[other]),
            measure.self_value if held.alone else None,
            symmetric=measure.symmetric,
        )


@dataclass(frozen=True)
class _Kernel:
    """The cosines of each token with its neighbours; row s has those of token s.

    Attributes
    ----------
    cosine, shared
        The kernel, and 1 where it has an entry.
    """

    cosine: csr_array
    shared: csr_array

    @classmethod
    def of(cls, found: NearestTokens) -> "_Kernel":
        tokens = len(found.nearest)
        columns, starts = found.nearest.flatten().numpy(), np.arange(0, NEIGHBOURS * tokens + 1, NEIGHBOURS)
        cosine, shared = (
            csr_array((values, columns, starts), shape=(tokens, tokens))
            for values in (found.similarity.flatten().numpy(), np.ones(len(columns)))
        )
        kernel = cls(cosine, shared)
        if kernel.own <= 0:
            raise Undefined("its neighbours are no more alike than all tokens")
        return kernel

    @cached_property
    def own(self) -> float:
        """The criterion of the kernel with itself."""
        return _criterion(self.cosine, self.cosine)

    def aligned(self, other: "_Kernel") -> float:
        """Return the criterion of both kernels where both have entries, over the root of the product of their own."""
        both = _criterion(self.cosine.multiply(other.shared), other.cosine.multiply(self.shared))
        return float(both / np.sqrt(self.own * other.own))


def _kernels(held: TokenSample) -> list[list[_Kernel]]:
    return [map_layers(axis, side, _Kernel.of) for axis, side in zip(held.axes, nearest_tokens(held), strict=True)]


def _criterion(first: csr_array, second: csr_array) -> float:
    """Compute HSIC_1 of kernels that are zero on the diagonal and need not be symmetric."""
    tokens = first.shape[0]
    trace = float(first.multiply(second.T).sum())
    whole = float(first.sum() * second.sum()) / ((tokens - 1) * (tokens - 2))
    through = float(first.sum(axis=0) @ second.sum(axis=1))
    criterion: float = (trace + whole - 2 * through / (tokens - 2)) / (tokens * (tokens - 3))
    return criterion
