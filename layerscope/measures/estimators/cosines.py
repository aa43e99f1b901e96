"""From per-sequence sums to cosines: the formulas of this family, each standing once.

This module knows sums as arrays; it knows neither rows nor labels.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from layerscope.measures.accumulators.pair_sums import PairSums
from layerscope.measures.context import AnalysisContext
from layerscope.measures.kernels.bootstrap import Resampling, sequence_weights, weighted_ratio
from layerscope.measures.kernels.undefined import Undefined

__all__ = ["Resampled", "WholeSums", "resample", "sequence_cosines", "token_cosines", "whole_sums"]


class WholeSums(NamedTuple):
    """What the cosines of whole sequences are made of.

    Attributes
    ----------
    dots, squares, squares_other
        Sums over each sequence's tokens of inner products and squared norms.
    """

    dots: Float[np.ndarray, "sequence layer layer_other"]
    squares: Float[np.ndarray, "sequence layer"]
    squares_other: Float[np.ndarray, "sequence layer_other"]


class Resampled(NamedTuple):
    """A ratio of sums over sequences, its bootstrap replicates if there are any, and how they were made."""

    value: Float[np.ndarray, "..."]
    replicates: Float[np.ndarray, "..."] | None = None
    resampling: Resampling | None = None


def whole_sums(sums: PairSums, *, without_first: bool = False) -> WholeSums:
    """Gather the sums of whole sequences, of those sequences that have tokens."""
    held = {name: total[present_sequences(sums)] for name, total in _arrays(sums).items()}
    names = ("dots", "squares", "squares" if sums.alone else "squares_other")
    return WholeSums(*(held[name][:, 0] if without_first else held[name].sum(1) for name in names))


def present_sequences(sums: PairSums) -> Bool[np.ndarray, " sequence"]:
    """Say which sequences have tokens."""
    return (sums.sums["tokens"].sum(1) > 0).numpy()


def sequence_cosines(
    whole: WholeSums, context: AnalysisContext, *, alone: bool
) -> tuple[Float[np.ndarray, "sequence layer layer_other"], Float[np.ndarray, " sequence"]]:
    """Compute the cosine of each flattened sequence, and 1 for each sequence that has one in every layer, 0 for the others.

    Raises
    ------
    Undefined
        When no sequence has one.
    """
    usable = np.logical_and((whole.squares > 0).all(1), (whole.squares_other > 0).all(1))
    if not usable.any():
        _refuse_zero(context, [(whole.squares == 0).sum(0), (whole.squares_other == 0).sum(0)])
    below = np.sqrt(whole.squares[:, :, None] * whole.squares_other[:, None, :])
    ratio = np.divide(whole.dots, below, out=np.zeros_like(whole.dots), where=usable[:, None, None])
    if alone:
        _exact_diagonal(ratio, usable)
    return ratio, usable.astype(np.float64)


def token_cosines(
    sums: PairSums, context: AnalysisContext
) -> tuple[Float[np.ndarray, "sequence layer layer_other"], Float[np.ndarray, " sequence"]]:
    """Return each sequence's sum of token cosines, and the number of tokens it is over.

    Raises
    ------
    Undefined
        When no token has a direction in every layer.
    """
    present = present_sequences(sums)
    count = sums.sums["count"].numpy()[present]
    total = sums.sums["cosine"].numpy()[present]
    if not count.any():
        layers = len(context.first)
        _refuse_zero(context, [sums.zero[:layers].numpy(), sums.zero[layers:].numpy()])
    if sums.alone:
        _exact_diagonal(total, count)
    return total, count


def resample(
    numerator: Float[np.ndarray, "sequence *rest"],
    denominator: Float[np.ndarray, " sequence"],
    context: AnalysisContext,
) -> Resampled:
    """Divide the sums over all sequences, and over each bootstrap sample of sequences if the context asks for it."""
    value = weighted_ratio(numerator, denominator, np.ones((1, len(denominator))))[0]
    if not context.options.bootstrap:
        return Resampled(value)
    weights = sequence_weights(len(denominator), context.options.bootstrap, context.options.seed)
    return Resampled(value, weighted_ratio(numerator, denominator, weights), Resampling(len(denominator)))


def _exact_diagonal(
    matrices: Float[np.ndarray, "sequence layer layer"],
    value: Float[np.ndarray, " sequence"] | Bool[np.ndarray, " sequence"],
) -> None:
    """Set the cosines of a layer with itself to what they are, free of the products' rounding."""
    np.einsum("sll->sl", matrices)[...] = value[:, None]


def _arrays(sums: PairSums) -> dict[str, Float[np.ndarray, "..."]]:
    return {name: total.numpy() for name, total in sums.sums.items()}


def _refuse_zero(context: AnalysisContext, zero: list[np.ndarray]) -> None:
    worst = [int(counts.argmax()) for counts in zero]
    axis, index = (context.first, worst[0]) if zero[0].max() >= zero[1].max() else (context.other, worst[1])
    raise Undefined("it is zero in every token", axis.describe(index))
