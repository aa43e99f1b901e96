"""Intervals over sequences: resampling, half-sampling, and the interval of the replicates.

Tokens of one sequence are correlated, so sequences are drawn, never single tokens.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtri, stdtrit

from layerscope.errors import MeasureError

__all__ = [
    "Resampling",
    "bootstrap_weights",
    "deal_groups",
    "half_masks",
    "percentiles",
    "replicate_warning",
    "sequence_weights",
    "weighted_ratio",
]

MOST_GROUPS = 64
_CONFIDENCE = 0.975
_FEWEST_REPLICATES = 39  # the smallest and the largest of n draws enclose (n - 1)/(n + 1) of a distribution on average


@dataclass(frozen=True)
class Resampling:
    """How replicates were drawn, which determines their interval.

    Attributes
    ----------
    units
        Number of sequences, or groups of sequences, that were drawn from.
    halves
        Whether each replicate is a random half of the units; else all units were drawn with replacement.
    note
        Remark for the description; empty for none.
    """

    units: int
    halves: bool = False
    note: str = ""

    @property
    def description(self) -> str:
        """How the interval was computed, as text."""
        drawn = (
            f"half-samples of sequences, dealt into {self.units} groups"
            if self.halves
            else f"{self.units} sequences drawn with replacement"
        )
        ends = f"percentiles, widened by Student's t for {self.units - 1} degrees of freedom and extended by the estimated bias"
        return f"95 % bootstrap interval ({drawn}): {ends}" + (f"; {self.note}" if self.note else "")

    def recenter(
        self, replicates: Float[np.ndarray, "replicate *rest"], value: Float[np.ndarray, "*rest"]
    ) -> Float[np.ndarray, "replicate *rest"]:
        """Shift half-samples so that their mean is the value; return bootstrap samples unchanged.

        To first order, half-samples have the spread of bootstrap samples. But an estimator that depends on the number of
        tokens (a rank, a biased alignment) has the same error in all of them.
        """
        return replicates - replicates.mean(axis=0) + value if self.halves else replicates

    def interval(
        self, value: Float[np.ndarray, "*rest"], replicates: Float[np.ndarray, "replicate *rest"]
    ) -> tuple[Float[np.ndarray, "*rest"], Float[np.ndarray, "*rest"]]:
        r"""Return the ends of the 95 % interval; NaN where all replicates are NaN.

        The ends are the value plus percentiles of the replicates' deviations from their mean, with two corrections. Few
        sequences: the deviations are multiplied by $t_{n-1}/z$, and by $\sqrt{n/(n-1)}$ if sequences were drawn with
        replacement, whose spread is too small by this factor (Hesterberg 2015). Bias: the mean of the replicates minus the
        value estimates how far the value is from that of infinitely many sequences. The interval is extended by it on that
        side, so that it covers both the expectation for this number of sequences and the limit for infinitely many.

        Parameters
        ----------
        value
            The measure on all sequences.
        replicates
            The replicates before `recenter`.

        Examples
        --------
        >>> draws = np.array([[1.0], [2.0], [4.0], [5.0]])
        >>> low, high = Resampling(1000).interval(np.array([2.0]), draws)  # replicates are 1 too high on average
        >>> low.round(1), high.round(1)
        (array([-0.9]), array([3.9]))
        """
        mean = np.full(value.shape, np.nan)
        known = ~np.isnan(replicates).all(axis=0)
        mean[known] = np.nanmean(replicates[:, known], axis=0)
        widening = stdtrit(self.units - 1, _CONFIDENCE) / ndtri(_CONFIDENCE)
        if not self.halves:
            widening *= np.sqrt(self.units / (self.units - 1))
        low, high = percentiles((replicates - mean) * widening)
        bias = mean - value
        return value + low - np.maximum(bias, 0), value + high - np.minimum(bias, 0)


def replicate_warning(replicates: int) -> dict[str, str]:
    """Return the attribute ``bootstrap_warning`` for fewer than 39 replicates; else no attribute.

    Examples
    --------
    >>> replicate_warning(5)
    {'bootstrap_warning': 'a 95 % interval needs at least 39 replicates, and this one has 5: it is too narrow'}
    >>> replicate_warning(39)
    {}
    """
    if replicates >= _FEWEST_REPLICATES:
        return {}
    needed = f"a 95 % interval needs at least {_FEWEST_REPLICATES} replicates, and this one has {replicates}"
    return {"bootstrap_warning": f"{needed}: it is too narrow"}


def sequence_weights(sequences: int, replicates: int, seed: int) -> Float[np.ndarray, "replicate sequence"]:
    """Draw the number of times that each sequence is in each bootstrap sample.

    Parameters
    ----------
    sequences, replicates
        Number of sequences and of bootstrap samples.
    seed
        Seed of the multinomial draws.

    Raises
    ------
    MeasureError
        There are fewer than two sequences.

    Examples
    --------
    >>> sequence_weights(5, 3, seed=0).sum(axis=1)
    array([5., 5., 5.])
    """
    if sequences < 2:
        raise MeasureError(
            f"bootstrap over sequences needs at least 2 sequences, got {sequences}: capture more texts, or leave --bootstrap out"
        )
    return bootstrap_weights(sequences, replicates, seed)


def bootstrap_weights(units: int, replicates: int, seed: int) -> Float[np.ndarray, "replicate unit"]:
    """Draw the number of times that each unit (a sequence, an example) is in each bootstrap sample.

    Examples
    --------
    >>> bootstrap_weights(4, 2, seed=0).sum(axis=1)
    array([4., 4.])
    """
    draws = np.random.default_rng(seed).multinomial(units, np.full(units, 1 / units), size=replicates)
    return draws.astype(np.float64)


def weighted_ratio(
    numerator: Float[np.ndarray, "sequence ..."],
    denominator: Float[np.ndarray, " sequence"],
    weights: Float[np.ndarray, "replicate sequence"],
) -> Float[np.ndarray, "replicate ..."]:
    """Compute, for each replicate, the ratio of two weighted sums over sequences; NaN where the denominator is zero."""
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
        The group of each token, and the number of groups, which is even so that halves have the same size.

    Raises
    ------
    MeasureError
        There are fewer than four sequences.
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


def percentiles(
    replicates: Float[np.ndarray, "replicate ..."],
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """Return the 2.5 % and 97.5 % percentiles over replicates; NaN where all replicates are NaN."""
    low, high = np.full(replicates.shape[1:], np.nan), np.full(replicates.shape[1:], np.nan)
    known = ~np.isnan(replicates).all(axis=0)
    if known.any():
        low[known], high[known] = np.nanpercentile(replicates[:, known], [2.5, 97.5], axis=0)
    return low, high
