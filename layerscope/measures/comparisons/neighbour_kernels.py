"""Compare layers by HSIC of kernels restricted to nearest neighbours."""

from layerscope.measures.comparisons.all_pairs import all_pairs
from layerscope.measures.comparisons.comparison import Comparison, Matrix
from layerscope.measures.comparisons.neighbours import distinct_tokens, nearest_tokens
from layerscope.measures.comparisons.token_sample import TokenSample, map_layers
from layerscope.measures.estimate import Details
from layerscope.measures.kernels.neighbour_hsic import NeighbourKernel
from layerscope.measures.kernels.neighbours import NEIGHBOURS
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


def _kernels(held: TokenSample) -> list[list[NeighbourKernel]]:
    return [
        map_layers(axis, side, NeighbourKernel.of) for axis, side in zip(held.axes, nearest_tokens(held), strict=True)
    ]
