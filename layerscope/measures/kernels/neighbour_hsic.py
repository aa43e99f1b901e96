"""HSIC of kernels restricted to nearest neighbours, normalised to an alignment of two layers."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

from layerscope.measures.kernels.neighbours import NearestTokens
from layerscope.measures.kernels.undefined import Undefined

__all__ = ["NeighbourKernel"]


@dataclass(frozen=True)
class NeighbourKernel:
    """A sparse kernel of one layer: the cosines of each token with its nearest neighbours; row s has those of token s.

    Attributes
    ----------
    cosine, shared
        The kernel, and 1 where it has an entry.
    """

    cosine: csr_array
    shared: csr_array

    @classmethod
    def of(cls, neighbours: NearestTokens) -> "NeighbourKernel":
        """Make the kernel of the neighbours of all tokens at one layer."""
        tokens, count = neighbours.nearest.shape
        columns, starts = neighbours.nearest.flatten().numpy(), np.arange(0, count * tokens + 1, count)
        cosine, shared = (
            csr_array((values, columns, starts), shape=(tokens, tokens))
            for values in (neighbours.similarity.flatten().numpy(), np.ones(len(columns)))
        )
        kernel = cls(cosine, shared)
        if kernel.own <= 0:
            raise Undefined("its neighbours are no more alike than all tokens")
        return kernel

    @cached_property
    def own(self) -> float:
        """The criterion of the kernel with itself."""
        return _criterion(self.cosine, self.cosine)

    def aligned(self, other: "NeighbourKernel") -> float:
        """Return the criterion of both kernels on their common entries over the geometric mean of their own criteria."""
        both = _criterion(self.cosine.multiply(other.shared), other.cosine.multiply(self.shared))
        return float(both / np.sqrt(self.own * other.own))


def _criterion(first: csr_array, second: csr_array) -> float:
    """Compute HSIC_1 of kernels that are zero on the diagonal and need not be symmetric."""
    tokens = first.shape[0]
    trace = float(first.multiply(second.T).sum())
    whole = float(first.sum() * second.sum()) / ((tokens - 1) * (tokens - 2))
    through = float(first.sum(axis=0) @ second.sum(axis=1))
    criterion: float = (trace + whole - 2 * through / (tokens - 2)) / (tokens * (tokens - 3))
    return criterion
