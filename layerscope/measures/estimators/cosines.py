"""Turn the sums of each sequence into cosines and bootstrap replicates, for several estimators."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from layerscope.measures.accumulators.pair_sums import PairSums
from layerscope.measures.context import AnalysisContext
from layerscope.measures.kernels.bootstrap import Resampling, sequence_weights, weighted_ratio
from layerscope.measures.kernels.cosines import WholeSums, exact_diagonal, flattened_cosines
from layerscope.measures.kernels.undefined import Undefined

__all__ = ["Resampled", "resample", "sequence_cosines", "token_cosines", "whole_sums"]


class Resampled(NamedTuple):
    """A ratio of sums over sequences, its bootstrap replicates if any, and how they were drawn."""

    value: Float[np.ndarray, "..."]
    replicates: Float[np.ndarray, "..."] | None = None
    resampling: Resampling | None = None


def whole_sums(sums: PairSums, *, without_first: bool = False) -> WholeSums:
    """Return the sums of the sequences that have tokens."""
    held = {name: total[present_sequences(sums)] for name, total in _arrays(sums).items()}
    names = ("dots", "squares", "squares" if sums.alone else "squares_other")
    return WholeSums(*(held[name][:, 0] if without_first else held[name].sum(1) for name in names))


def present_sequences(sums: PairSums) -> Bool[np.ndarray, " sequence"]:
    """Return which sequences have tokens."""
    return (sums.sums["tokens"].sum(1) > 0).numpy()


def sequence_cosines(
    whole: WholeSums, context: AnalysisContext, *, alone: bool
) -> tuple[Float[np.ndarray, "sequence layer layer_other"], Float[np.ndarray, " sequence"]]:
    """Return the cosine of each flattened sequence, and 1 for each sequence that has one in every layer, else 0.

    Raises
    ------
    Undefined
        Every sequence is zero in some layer.
    """
    usable = np.logical_and((whole.squares > 0).all(1), (whole.squares_other > 0).all(1))
    if not usable.any():
        _refuse_zero(context, [(whole.squares == 0).sum(0), (whole.squares_other == 0).sum(0)])
    ratio = flattened_cosines(whole, usable)
    if alone:
        exact_diagonal(ratio, usable)
    return ratio, usable.astype(np.float64)


def token_cosines(
    sums: PairSums, context: AnalysisContext
) -> tuple[Float[np.ndarray, "sequence layer layer_other"], Float[np.ndarray, " sequence"]]:
    """Return the sum of token cosines of each sequence, and its number of tokens.

    Raises
    ------
    Undefined
        Every token is zero in some layer.
    """
    present = present_sequences(sums)
    count = sums.sums["count"].numpy()[present]
    total = sums.sums["cosine"].numpy()[present]
    if not count.any():
        layers = len(context.first)
        _refuse_zero(context, [sums.zero[:layers].numpy(), sums.zero[layers:].numpy()])
    if sums.alone:
        exact_diagonal(total, count)
    return total, count


def resample(
    numerator: Float[np.ndarray, "sequence *rest"],
    denominator: Float[np.ndarray, " sequence"],
    context: AnalysisContext,
) -> Resampled:
    """Return the ratio of the sums over all sequences, and over each bootstrap sample if the options have a bootstrap."""
    value = weighted_ratio(numerator, denominator, np.ones((1, len(denominator))))[0]
    if not context.options.bootstrap:
        return Resampled(value)
    weights = sequence_weights(len(denominator), context.options.bootstrap, context.options.seed)
    return Resampled(value, weighted_ratio(numerator, denominator, weights), Resampling(len(denominator)))


def _arrays(sums: PairSums) -> dict[str, Float[np.ndarray, "..."]]:
    return {name: total.numpy() for name, total in sums.sums.items()}


def _refuse_zero(context: AnalysisContext, zero: list[np.ndarray]) -> None:
    worst = [int(counts.argmax()) for counts in zero]
    axis, index = (context.first, worst[0]) if zero[0].max() >= zero[1].max() else (context.other, worst[1])
    raise Undefined("it is zero in every token", axis.describe(index))
