"""Compare the nearest neighbours of tokens at one layer with those at another.

Tokens are processed in blocks: the similarities and neighbours of every layer are computed once a block, for all pairs of
layers.
"""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float

from layerscope.measures.comparisons.comparison import Comparison, Matrix
from layerscope.measures.comparisons.token_sample import TokenSample
from layerscope.measures.estimate import Details
from layerscope.measures.kernels.neighbours import DECIMALS, NEIGHBOURS, NearestTokens, NeighbourBlock, block_scores
from layerscope.measures.kernels.undefined import Undefined
from layerscope.measures.record import Measure

__all__ = ["NEIGHBOUR_SCORES", "Neighbours", "distinct_tokens", "nearest_tokens", "neighbour_scores"]

NEIGHBOUR_SCORES = ("knn_jaccard", "mutual_knn", "rank_similarity", "second_order_cosine", "cknna")
_BLOCK_BYTES = 96_000_000

Scores = dict[str, Float[np.ndarray, "layer layer_other"]]


class Neighbours(Comparison):
    """One of the scores that `neighbour_scores` computes together."""

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
    """Return the number of distinct tokens as a detail, if some are equal at every layer."""
    distinct = len(tokens.distinct)
    return {} if distinct == len(tokens) else {"distinct_tokens": distinct}


def neighbour_scores(held: TokenSample) -> Scores:
    """Compute the mean over tokens of every neighbourhood score, for all pairs of layers.

    Tokens whose states are equal at every layer count as one, because they would be nearest neighbours everywhere.

    Raises
    ------
    Undefined
        There are too few tokens, a state is zero, or all tokens are equally similar.
    """
    held = _choice(held)
    sums: dict[str, torch.Tensor] = {}
    for blocks in _blocks(held):
        for name, values in block_scores(blocks[0], blocks[-1]).items():
            sums[name] = sums[name] + values if name in sums else values
    aligned, own, own_other = (sums.pop(name) for name in ("aligned", "own", "own_other"))
    for axis, alone in ((held.axes[0], own), (held.axes[-1], own_other)):
        for index in (alone <= len(held) * NEIGHBOURS * 10.0 ** (-2 * DECIMALS)).nonzero().flatten().tolist():
            raise Undefined("its tokens are all equally alike", axis.describe(index))
    means = {name: (values / len(held)).numpy() for name, values in sums.items()}
    return means | {"cknna": (aligned / (own[:, None] * own_other).sqrt()).numpy()}


def nearest_tokens(held: TokenSample) -> list[list[NearestTokens]]:
    """Find the neighbours of all distinct tokens at each layer of each capture; raise like `neighbour_scores`."""
    held = _choice(held)
    parts = [[(block.nearest, block.own()) for block in blocks] for blocks in _blocks(held)]
    sides = [[torch.cat(found, dim=1) for found in zip(*side, strict=True)] for side in zip(*parts, strict=True)]
    return [[NearestTokens(*layer) for layer in zip(*side, strict=True)] for side in sides]


def _choice(held: TokenSample) -> TokenSample:
    """Return the distinct tokens; raise if they are too few for a choice of neighbours."""
    different = "" if len(held.distinct) == len(held) else "different "
    held = held.distinct
    if len(held) < NEIGHBOURS + 2:
        raise Undefined(f"{len(held)} {different}tokens leave no choice of {NEIGHBOURS} neighbours")
    return held


def _blocks(held: TokenSample) -> Iterator[list[NeighbourBlock]]:
    """Yield the blocks of all tokens, one for each capture."""
    units = [_unit(held, side) for side in range(len(held.sides))]
    rows = max(1, _BLOCK_BYTES // (8 * max(held.shape) * len(held)))
    for start in range(0, len(held), rows):
        yield [NeighbourBlock.of(unit, start, min(start + rows, len(held))) for unit in units]


def _unit(held: TokenSample, side: int) -> Float[torch.Tensor, "layer token feature"]:
    states = held.sides[side].transpose(0, 1).double()
    length = torch.linalg.vector_norm(states, dim=2, keepdim=True)
    for layer, _, _ in (length == 0).nonzero().tolist():
        raise Undefined("a token of it is all zero and has no direction", held.axes[side].describe(layer))
    unit: torch.Tensor = states / length
    return unit
