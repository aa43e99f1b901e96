"""Representational similarity analysis: the dissimilarities between tokens at one layer, compared with those at another.

Each layer becomes one long vector, so that all pairs of layers are one product of matrices. This module knows tokens held
and no labels, no files.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import kendalltau, rankdata

from layerscope.measures.comparisons.comparison import Comparison, Matrix
from layerscope.measures.comparisons.token_sample import TokenSample, map_layers
from layerscope.measures.context import EXACT_TOKENS, AnalysisContext, Axis
from layerscope.measures.kernels.rounding import value_tolerance
from layerscope.measures.kernels.undefined import Undefined
from layerscope.measures.record import Measure

__all__ = [
    "KENDALL_TOKENS",
    "Vectors",
    "as_they_are",
    "centred_ranks",
    "centred_values",
    "dissimilarities",
    "kendall",
    "ranked",
]

KENDALL_TOKENS = 512
"""How many tokens Kendall's correlation takes: it is no product of vectors, and each pair of layers has to be sorted."""
_DECIMALS = 12
_COLUMNS = 65_536


def dissimilarities(states: Float[torch.Tensor, "token feature"], precision: float) -> Float[torch.Tensor, " pair"]:
    r"""Compute 1 - Pearson's correlation over features of each two tokens s < t, rounded to twelve decimals.

    Rounded, because two pairs of tokens that are equally alike must have equal ranks, whatever the rounding of their products.

    Examples
    --------
    >>> dissimilarities(torch.tensor([[1.0, 2.0, 3.0], [0.0, 5.0, 10.0], [3.0, 2.0, 1.0]]), 1e-7)
    tensor([0., 2., 2.], dtype=torch.float64)
    """
    exact = states.double()
    deviation = exact - exact.mean(1, keepdim=True)
    length = deviation.norm(dim=1, keepdim=True)
    if (length <= value_tolerance(precision) * exact.norm(dim=1, keepdim=True)).any():
        raise Undefined("a token of it has one value in all its features")
    unit = deviation / length
    correlation = unit @ unit.T
    upper = torch.cat([row[index + 1 :] for index, row in enumerate(correlation)])
    return upper.neg_().add_(1).round_(decimals=_DECIMALS)


def as_they_are(values: Float[torch.Tensor, " pair"]) -> Float[torch.Tensor, " pair"]:
    """Leave dissimilarities as they are, for their cosine."""
    if not values.any():
        raise Undefined("its tokens are all equally alike")
    return values


def centred_values(values: Float[torch.Tensor, " pair"]) -> Float[torch.Tensor, " pair"]:
    """Take the mean away, for Pearson's correlation."""
    return _varying(values) - values.mean()


def centred_ranks(values: Float[torch.Tensor, " pair"]) -> Float[torch.Tensor, " pair"]:
    """Take ranks, the mean rank where values are equal, without their mean, for Spearman's correlation.

    Examples
    --------
    >>> centred_ranks(torch.tensor([0.5, 0.1, 0.5, 0.7], dtype=torch.float64))
    tensor([ 0.0000, -1.5000,  0.0000,  1.5000], dtype=torch.float64)
    """
    return torch.from_numpy(rankdata(_varying(values).numpy())) - (len(values) + 1) / 2


def ranked(states: Float[torch.Tensor, "token feature"], precision: float) -> Float[np.ndarray, " pair"]:
    """Rank the dissimilarities of tokens."""
    return centred_ranks(dissimilarities(states, precision)).numpy()


def kendall(first: Float[np.ndarray, " pair"], second: Float[np.ndarray, " pair"]) -> float:
    r"""Compute Kendall's $\tau_b$, which leaves equal values out.

    Examples
    --------
    >>> kendall(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0])).__round__(4)
    0.3333
    """
    return float(kendalltau(first, second).statistic)


class Vectors(Comparison):
    """A vector of each layer's dissimilarities, and the cosine of two.

    Parameters
    ----------
    transform
        What is done to the dissimilarities first.
    description
        As for `Comparison`.
    """

    def __init__(self, transform: Callable[[torch.Tensor], torch.Tensor], description: str) -> None:
        super().__init__(description)
        self.transform = transform

    def most_tokens(self, context: AnalysisContext) -> int:
        """Return for how many tokens the vectors of all layers take half of the memory."""
        layers = len(context.first) + (0 if context.second is None else len(context.second))
        pairs = context.options.memory / 2 / (layers * context.dtype.itemsize)
        return min(EXACT_TOKENS, max(64, int((2 * pairs) ** 0.5)))

    def matrix(self, held: TokenSample, measure: Measure) -> Matrix:
        """See `Comparison`."""
        vectors = [self._vectors(axis, states, held) for axis, states in zip(held.axes, held.sides, strict=True)]
        products = _products(vectors[0], vectors[-1])
        lengths = [_lengths(side) for side in vectors]
        found: np.ndarray = products / np.outer(lengths[0], lengths[-1])
        return found

    def _vectors(
        self, axis: Axis, states: Float[torch.Tensor, "token layer feature"], held: TokenSample
    ) -> Float[torch.Tensor, "layer pair"]:
        """Stack the vectors of all layers, in the states' type: ranks about their mean are exact in float32 too."""
        tokens, layers, _ = states.shape
        stacked = torch.empty(layers, tokens * (tokens - 1) // 2, dtype=held.sides[0].dtype)
        map_layers(
            axis,
            zip(states.unbind(1), stacked, strict=True),
            lambda layer: layer[1].copy_(self.transform(dissimilarities(layer[0], held.precision))),
        )
        return stacked


def _products(
    first: Float[torch.Tensor, "layer pair"], second: Float[torch.Tensor, "layer_other pair"]
) -> Float[np.ndarray, "layer layer_other"]:
    """Multiply in float64: beside the dissimilarities themselves it costs little."""
    total = torch.zeros(len(first), len(second), dtype=torch.float64)
    for left, right in zip(torch.split(first, _COLUMNS, 1), torch.split(second, _COLUMNS, 1), strict=True):
        total += left.double() @ right.double().T
    return total.numpy()


def _lengths(vectors: Float[torch.Tensor, "layer pair"]) -> Float[np.ndarray, " layer"]:
    parts = [part.double().square().sum(1) for part in torch.split(vectors, _COLUMNS, 1)]
    lengths: np.ndarray = torch.stack(parts).sum(0).sqrt().numpy()
    return lengths


def _varying(values: Float[torch.Tensor, " pair"]) -> Float[torch.Tensor, " pair"]:
    if values.min() == values.max():
        raise Undefined("its tokens are all equally alike")
    return values
