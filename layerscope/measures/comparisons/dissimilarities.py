"""Representational similarity analysis: each layer becomes one long vector, and all pairs are one product of matrices."""

from collections.abc import Callable

import torch
from jaxtyping import Float

from layerscope.measures.comparisons.comparison import Comparison, Matrix
from layerscope.measures.comparisons.token_sample import TokenSample, map_layers
from layerscope.measures.context import EXACT_TOKENS, AnalysisContext, Axis
from layerscope.measures.kernels.dissimilarities import cosines, dissimilarities
from layerscope.measures.record import Measure

__all__ = ["KENDALL_TOKENS", "Vectors"]

KENDALL_TOKENS = 512
"""Number of tokens for Kendall's correlation, which is not a product of vectors: each pair of layers is sorted."""


class Vectors(Comparison):
    """A vector of each layer's dissimilarities, and the cosine of two.

    Parameters
    ----------
    transform
        Transform of the dissimilarities before the cosine.
    description
        See `Comparison`.
    """

    def __init__(self, transform: Callable[[torch.Tensor], torch.Tensor], description: str) -> None:
        super().__init__(description)
        self.transform = transform

    def most_tokens(self, context: AnalysisContext) -> int:
        """Return the number of tokens for which the vectors of all layers fit into half of the memory."""
        layers = len(context.first) + (0 if context.second is None else len(context.second))
        pairs = context.options.memory / 2 / (layers * context.dtype.itemsize)
        return min(EXACT_TOKENS, max(64, int((2 * pairs) ** 0.5)))

    def matrix(self, held: TokenSample, measure: Measure) -> Matrix:
        """See `Comparison`."""
        vectors = [self._vectors(axis, states, held) for axis, states in zip(held.axes, held.sides, strict=True)]
        return cosines(vectors[0], vectors[-1])

    def _vectors(
        self, axis: Axis, states: Float[torch.Tensor, "token layer feature"], held: TokenSample
    ) -> Float[torch.Tensor, "layer pair"]:
        """Stack the vectors of all layers in the type of the states: centred ranks are exact in float32 too."""
        tokens, layers, _ = states.shape
        stacked = torch.empty(layers, tokens * (tokens - 1) // 2, dtype=held.sides[0].dtype)
        map_layers(
            axis,
            zip(states.unbind(1), stacked, strict=True),
            lambda layer: layer[1].copy_(self.transform(dissimilarities(layer[0], held.precision))),
        )
        return stacked
