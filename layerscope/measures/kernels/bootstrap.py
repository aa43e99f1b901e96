"""Intervals over sequences: resampling, half-sampling, percentiles.

Tokens of one sequence are correlated, so whole sequences are drawn, never tokens. This module knows sums and seeds, not
states.
"""

import numpy as np
from jaxtyping import Float, Int

from layerscope.errors import MeasureError

__all__ = [
    "HALVES",
    "RESAMPLED",
    "deal_groups",
    "half_masks",
    "percentiles",
    "recentred",
    "sequence_weights",
    "weighted_ratio",
]

RESAMPLED = "95 % percentile interval; sequences drawn with replacement"
HALVES = (
    "95 % percentile interval; half-samples of sequences (dealt into {groups} groups), shifted so that their mean "
    "is the value"
)
MOST_GROUPS = 64


def sequence_weights(sequences: int, replicates: int, seed: int) -> Float[np.ndarray, "replicate sequence"]:
    """Draw how often each sequence is in each bootstrap sample.

    Parameters
    ----------
    sequences, replicates
        How many there are.
    seed
        Of the multinomial draws.

    Raises
    ------
    MeasureError
        With fewer than two sequences.

    Examples
    --------
    >>> sequence_weights(5, 3, seed=0).sum(axis=1)
    array([5., 5., 5.])
    """
    if sequences < 2:
        raise MeasureError(
            f"bootstrap over sequences needs at least 2 sequences, got {sequences}: capture more texts, or leave --bootstrap out"
        )
    draws = np.random.default_rng(seed).multinomial(sequences, np.full(sequences, 1 / sequences), size=replicates)
    return draws.astype(np.float64)


def weighted_ratio(
    numerator: Float[np.ndarray, "sequence ..."],
    denominator: Float[np.ndarray, " sequence"],
    weights: Float[np.ndarray, "replicate sequence"],
) -> Float[np.ndarray, "replicate ..."]:
    """Compute, for each replicate, the ratio of two weighted sums over sequences.

    A replicate that drew only sequences without a denominator is NaN.
    """
    flat = numerator.reshape(len(numerator), -1)
    below = weights @ denominator
    with np.errstate(invalid="ignore"):
        ratio = (weights @ flat) / np.where(below > 0, below, np.nan)[:, None]
    return np.reshape(ratio, (len(weights), *numerator.shape[1:]))


def deal_groups(sequence_index: Int[np.ndarray, " token"], seed: int) -> tuple[Int[np.ndarray, " token"], int]:
    """Deal the sequences of some tokens into at most 64 groups of nearly equal numbers of sequences.

    Returns
    -------
    tuple
        The group of each token, and how many groups there are (always even, so that halves are halves).

    Raises
    ------
    MeasureError
        With fewer than four sequences.
    """
    present, slot = np.unique(sequence_index, return_inverse=True)
    if len(present) < 4:
        raise MeasureError(
            f"half-samples of sequences need at least 4 sequences, got {len(present)}: capture more texts, "
            "or leave --bootstrap out"
        )
    groups = min(MOST_GROUPS, len(present) // 2 * 2)
    group = np.random.default_rng([seed, 1]).permutation(np.arange(len(present)) % groups)
    return group[slot].astype(np.int64), groups


def half_masks(groups: int, replicates: int, seed: int) -> Float[np.ndarray, "replicate group"]:
    """Draw a random half of the groups for each replicate, as rows of zeros and ones."""
    order = np.argsort(np.random.default_rng([seed, 2]).random((replicates, groups)), axis=1)
    return (order < groups // 2).astype(np.float64)


def recentred(
    replicates: Float[np.ndarray, "replicate ..."], value: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "replicate ..."]:
    """Shift half-sample replicates so that their mean is the value.

    A half-sample of half the tokens has the spread of a bootstrap sample, to first order, but an estimator that depends on
    the number of tokens (a rank, a biased alignment) is off by that dependence in all of them alike: the shift takes it out.
    """
    shifted: np.ndarray = replicates - replicates.mean(axis=0) + value
    return shifted


def percentiles(
    replicates: Float[np.ndarray, "replicate ..."],
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """Return the 2.5 % and 97.5 % percentiles over replicates; NaN where all replicates are NaN."""
    low, high = np.full(replicates.shape[1:], np.nan), np.full(replicates.shape[1:], np.nan)
    known = ~np.isnan(replicates).all(axis=0)
    if known.any():
        low[known], high[known] = np.nanpercentile(replicates[:, known], [2.5, 97.5], axis=0)
    return low, high
