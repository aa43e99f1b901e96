"""Nearest neighbours of tokens by cosine at all layers, and the scores of two layers' neighbourhoods.

Tokens are processed in blocks, so that nothing of size tokens² is in memory.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int

from layerscope.measures.kernels.undefined import Undefined

__all__ = ["DECIMALS", "NEIGHBOURS", "NearestTokens", "NeighbourBlock", "block_scores"]

NEIGHBOURS = 10
DECIMALS = 12
"""Decimals to which cosines are rounded, so that equally near tokens have equal cosines."""


@dataclass(frozen=True)
class NearestTokens:
    """The nearest neighbours of all tokens at one layer.

    Attributes
    ----------
    nearest, similarity
        Numbers of the neighbours, and the cosines with them.
    """

    nearest: Int[torch.Tensor, "token neighbour"]
    similarity: Float[torch.Tensor, "token neighbour"]


@dataclass(frozen=True)
class NeighbourBlock:
    """Cosines and neighbours of a block of tokens at all layers of one capture.

    Attributes
    ----------
    similarity
        Cosine with every token, rounded to twelve decimals.
    nearest
        The ten most similar other tokens, nearest first; ties go to the lower row number.
    rank
        1 … 10 for the nearest tokens, 0 for all others.
    mean
        The mean similarity to the other tokens.
    """

    similarity: Float[torch.Tensor, "layer row token"]
    nearest: Int[torch.Tensor, "layer row neighbour"]
    rank: Int[torch.Tensor, "layer row token"]
    mean: Float[torch.Tensor, "layer row"]

    @classmethod
    def of(cls, unit: Float[torch.Tensor, "layer token feature"], start: int, stop: int) -> "NeighbourBlock":
        """Compare tokens `start` … `stop` with all tokens."""
        similarity = torch.bmm(unit[:, start:stop], unit.mT).round_(decimals=DECIMALS)
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


def _nearest(similarity: Float[torch.Tensor, "layer row token"]) -> Int[torch.Tensor, "layer row neighbour"]:
    """Return the most similar tokens; ties go to the lower number."""
    value, nearest = similarity.topk(NEIGHBOURS + 1, dim=2)
    nearest = nearest[:, :, :NEIGHBOURS].sort(2).values
    order = similarity.gather(2, nearest).argsort(dim=2, descending=True, stable=True)
    nearest = nearest.gather(2, order)
    # If the last neighbour is tied with a token outside, topk returns either of them.
    layer, row = (value[:, :, NEIGHBOURS - 1] == value[:, :, NEIGHBOURS]).nonzero().unbind(1)
    nearest[layer, row] = similarity[layer, row].argsort(dim=1, descending=True, stable=True)[:, :NEIGHBOURS]
    return nearest


def block_scores(first: NeighbourBlock, second: NeighbourBlock) -> dict[str, torch.Tensor]:
    """Sum the neighbourhood scores of a block's tokens, for all pairs of layers."""
    here, there = _Lookup.of(first, second), _Lookup.of(second, first).exchanged()
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
class _Lookup:
    """Similarities of the second layers' neighbours, at the first layers (`left`) and at the second layers (`right`)."""

    left: Float[torch.Tensor, "layer layer_other row neighbour"]
    right: Float[torch.Tensor, "layer layer_other row neighbour"]
    rank: Int[torch.Tensor, "layer layer_other row neighbour"]
    order: Int[torch.Tensor, " neighbour"]

    @classmethod
    def of(cls, first: NeighbourBlock, second: NeighbourBlock) -> "_Lookup":
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
        """Whether a neighbour is also one of the first layer's."""
        return self.rank > 0

    def exchanged(self) -> "_Lookup":
        """Exchange the two layers."""
        left, right, rank = (values.transpose(0, 1) for values in (self.right, self.left, self.rank))
        return _Lookup(left, right, rank, self.order)
