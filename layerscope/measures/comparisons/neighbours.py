"""The nearest neighbours of tokens at one layer, compared with those at another.

Block by block of tokens, every layer's similarities are computed once, its neighbours found once, and all pairs of layers
compared; nothing of size tokens² is held. This module knows tokens held; it knows no labels and no files.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from layerscope.measures.comparisons.comparison import Comparison, Matrix
from layerscope.measures.comparisons.token_sample import TokenSample
from layerscope.measures.estimate import Details
from layerscope.measures.kernels.undefined import Undefined
from layerscope.measures.record import Measure

__all__ = [
    "NEIGHBOURS",
    "NEIGHBOUR_SCORES",
    "NearestTokens",
    "Neighbours",
    "distinct_tokens",
    "nearest_tokens",
    "neighbour_scores",
]

NEIGHBOURS = 10
NEIGHBOUR_SCORES = ("knn_jaccard", "mutual_knn", "rank_similarity", "second_order_cosine", "cknna")
_DECIMALS = 12
_BLOCK_BYTES = 96_000_000

Scores = dict[str, Float[np.ndarray, "layer layer_other"]]


class Neighbours(Comparison):
    """One of the scores that `neighbour_scores` gives together."""

    def __init__(self, score: str) -> None:
        super().__init__("nearest neighbours by cosine", neighbours=NEIGHBOURS)
        self.score = score
        self.prepare = neighbour_scores

    def details(self, tokens: TokenSample) -> Details:
        """See `Comparison`; also the number of distinct tokens, where some are equal."""
        return dict(self.settings) | distinct_tokens(tokens)

    def matrix(self, held: TokenSample, measure: Measure) -> Matrix:
        """See `Comparison`."""
        return held.once(neighbour_scores)[self.score]


def distinct_tokens(tokens: TokenSample) -> Details:
    """Return how many tokens are distinct, where some are equal at every layer."""
    distinct = len(tokens.distinct)
    return {} if distinct == len(tokens) else {"distinct_tokens": distinct}


@dataclass(frozen=True)
class _Block:
    """What is known of some tokens at all layers of a side.

    Attributes
    ----------
    similarity
        The cosine with every token, rounded to twelve decimals: tokens that are equally near are so whatever the rounding.
    nearest
        The ten most similar other tokens, the nearest first; of equally near ones those of lower row number.
    rank
        1 … 10 for these, 0 for all others.
    mean
        The mean similarity to the other tokens.
    """

    similarity: Float[torch.Tensor, "layer row token"]
    nearest: Int[torch.Tensor, "layer row neighbour"]
    rank: Int[torch.Tensor, "layer row token"]
    mean: Float[torch.Tensor, "layer row"]

    @classmethod
    def of(cls, unit: Float[torch.Tensor, "layer token feature"], start: int, stop: int) -> "_Block":
        """Compare tokens `start` … `stop` with all."""
        similarity = torch.bmm(unit[:, start:stop], unit.mT).round_(decimals=_DECIMALS)
        own = similarity[:, :, start:stop].diagonal(dim1=1, dim2=2)
        own.zero_()
        mean = similarity.sum(-1) / (similarity.shape[2] - 1)
        own.fill_(-torch.inf)
        nearest = _nearest(similarity)
        rank = torch.zeros_like(similarity, dtype=torch.int16)
        order = torch.arange(1, NEIGHBOURS + 1, dtype=torch.int16)
        rank.scatter_(2, nearest, order.expand(nearest.shape))
        return cls(similarity, nearest, rank, mean)

    def own(self) -> Float[torch.Tensor, "layer row neighbour"]:
        """Return the similarities to each layer's own neighbours."""
        return self.similarity.gather(2, self.nearest)


def neighbour_scores(held: TokenSample) -> Scores:
    """Compute the means over tokens of all scores of neighbourhoods, for all pairs of layers.

    Tokens whose states are the same at every layer count as one: each would be the other's nearest neighbour everywhere.

    Raises
    ------
    Undefined
        For fewer tokens than make a choice of neighbours, and states that have no direction.
    """
    held = _choice(held)
    sums: dict[str, torch.Tensor] = {}
    for blocks in _blocks(held):
        for name, values in _scores(blocks[0], blocks[-1]).items():
            sums[name] = sums[name] + values if name in sums else values
    aligned, own, own_other = (sums.pop(name) for name in ("aligned", "own", "own_other"))
    for axis, alone in ((held.axes[0], own), (held.axes[-1], own_other)):
        for index in (alone <= len(held) * NEIGHBOURS * 10.0 ** (-2 * _DECIMALS)).nonzero().flatten().tolist():
            raise Undefined("its tokens are all equally alike", axis.describe(index))
    means = {name: (values / len(held)).numpy() for name, values in sums.items()}
    return means | {"cknna": (aligned / (own[:, None] * own_other).sqrt()).numpy()}


@dataclass(frozen=True)
class NearestTokens:
    """The neighbours of all tokens at one layer.

    Attributes
    ----------
    nearest, similarity
        Their numbers, and the cosines with them.
    """

    nearest: Int[torch.Tensor, "token neighbour"]
    similarity: Float[torch.Tensor, "token neighbour"]


def nearest_tokens(held: TokenSample) -> list[list[NearestTokens]]:
    """Find the neighbours of all different tokens, for each layer of each side; refuse as `neighbour_scores` does."""
    held = _choice(held)
    parts = [[(block.nearest, block.own()) for block in blocks] for blocks in _blocks(held)]
    sides = [[torch.cat(found, dim=1) for found in zip(*side, strict=True)] for side in zip(*parts, strict=True)]
    return [[NearestTokens(*layer) for layer in zip(*side, strict=True)] for side in sides]


def _choice(held: TokenSample) -> TokenSample:
    """Return the different tokens, if they are more than a token's neighbours."""
    different = "" if len(held.distinct) == len(held) else "different "
    held = held.distinct
    if len(held) < NEIGHBOURS + 2:
        raise Undefined(f"{len(held)} {different}tokens leave no choice of {NEIGHBOURS} neighbours")
    return held


def _blocks(held: TokenSample) -> Iterator[list[_Block]]:
    """Give all tokens block by block, as each side sees them."""
    units = [_unit(held, side) for side in range(len(held.sides))]
    rows = max(1, _BLOCK_BYTES // (8 * max(held.shape) * len(held)))
    for start in range(0, len(held), rows):
        yield [_Block.of(unit, start, min(start + rows, len(held))) for unit in units]


def _unit(held: TokenSample, side: int) -> Float[torch.Tensor, "layer token feature"]:
    states = held.sides[side].transpose(0, 1).double()
    length = torch.linalg.vector_norm(states, dim=2, keepdim=True)
    for layer, _, _ in (length == 0).nonzero().tolist():
        raise Undefined("a token of it is all zero and has no direction", held.axes[side].describe(layer))
    unit: torch.Tensor = states / length
    return unit


def _nearest(similarity: Float[torch.Tensor, "layer row token"]) -> Int[torch.Tensor, "layer row neighbour"]:
    """Find the most similar tokens, of equally similar ones those of lower number."""
    value, found = similarity.topk(NEIGHBOURS + 1, dim=2)
    found = found[:, :, :NEIGHBOURS].sort(2).values
    order = similarity.gather(2, found).argsort(dim=2, descending=True, stable=True)
    found = found.gather(2, order)
    # The last one in has an equal outside: which of them it is, topk does not say.
    layer, row = (value[:, :, NEIGHBOURS - 1] == value[:, :, NEIGHBOURS]).nonzero().unbind(1)
    found[layer, row] = similarity[layer, row].argsort(dim=1, descending=True, stable=True)[:, :NEIGHBOURS]
    return found


def _scores(first: _Block, second: _Block) -> dict[str, torch.Tensor]:
    """Sum the scores of a block's tokens; at a pair of layers there are the neighbours of either."""
    here, there = _Meeting.of(first, second), _Meeting.of(second, first).exchanged()
    common = here.common
    number = common.sum(-1)
    count = number.double()
    union = [
        (left * right).sum(-1) + (left_there * right_there * ~there.common).sum(-1)
        for left, right, left_there, right_there in (
            (here.left, here.right, there.left, there.right),
            (here.left, here.left, there.left, there.left),
            (here.right, here.right, there.right, there.right),
        )
    ]
    ranks = 2 / ((1 + (here.rank - here.order).abs()) * (here.rank + here.order).double())
    harmonic = torch.cat([torch.ones(1), (1 / torch.arange(1, NEIGHBOURS + 1).double()).cumsum(0)]).double()
    deviation = (here.left - first.mean[:, None, :, None]) * (here.right - second.mean[None, :, :, None])
    if not (union[1].all() and union[2].all()):
        raise Undefined("a token has no similarity to any of its neighbours")
    scores = {
        "knn_jaccard": count / (2 * NEIGHBOURS - count),
        "mutual_knn": count / NEIGHBOURS,
        "rank_similarity": (ranks * common).sum(-1) / harmonic[number],
        "second_order_cosine": union[0] / (union[1] * union[2]).sqrt(),
        "aligned": (deviation * common).sum(-1),
    }
    own = {
        name: (block.own() - block.mean[:, :, None]).square().sum((1, 2))
        for name, block in (("own", first), ("own_other", second))
    }
    return {name: values.sum(-1, dtype=torch.float64) for name, values in scores.items()} | own


@dataclass(frozen=True)
class _Meeting:
    """The neighbours of the second of two layers, as both see them."""

    left: Float[torch.Tensor, "layer layer_other row neighbour"]
    right: Float[torch.Tensor, "layer layer_other row neighbour"]
    rank: Int[torch.Tensor, "layer layer_other row neighbour"]
    order: Int[torch.Tensor, " neighbour"]

    @classmethod
    def of(cls, first: _Block, second: _Block) -> "_Meeting":
        """Look up the second layers' neighbours at the first layers."""
        layers, others = len(first.similarity), len(second.similarity)
        at = second.nearest.expand(layers, *second.nearest.shape)
        left, rank = (
            values[:, None].expand(layers, others, *values.shape[1:]).gather(3, at)
            for values in (first.similarity, first.rank)
        )
        return cls(left, second.own().expand_as(left), rank, torch.arange(1, NEIGHBOURS + 1))

    @property
    def common(self) -> torch.Tensor:
        """Whether a neighbour is one of the first layer's too."""
        return self.rank > 0

    def exchanged(self) -> "_Meeting":
        """Name the layers the other way round."""
        left, right, rank = (values.transpose(0, 1) for values in (self.right, self.left, self.rank))
        return _Meeting(left, right, rank, self.order)
