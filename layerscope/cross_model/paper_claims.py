"""Test the claims of "Transformer Layers as Painters" (arXiv 2407.09298) about beginning and ending layers across scales.

The claims are about the Pythia models: the ending is always exactly one layer, and the proportion of beginning layers
falls with size. The second is true if the least-squares slope of the proportion is below 0, and robust if the sign stays
the same with any model left out.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

__all__ = ["ClaimResult", "beginning_trend", "check_claims", "ending_is_one", "model_scale"]

_SURE = 0.95


@dataclass(frozen=True)
class ClaimResult:
    """Result of testing a claim.

    Attributes
    ----------
    holds
        Whether the claim is true of the sizes.
    support
        Share of bootstrap replicates in which it is true.
    robust
        Whether the result is the same without any single model.
    """

    holds: bool
    support: float
    robust: bool

    @property
    def verdict(self) -> str:
        """``holds`` or ``fails`` if the result is robust and shared by at least 95 % of the replicates, else ``undecided``.

        Examples
        --------
        >>> ClaimResult(True, 0.97, True).verdict, ClaimResult(True, 0.6, True).verdict, ClaimResult(False, 0.0, True).verdict
        ('holds', 'undecided', 'fails')
        """
        if not self.robust or (self.support if self.holds else 1 - self.support) < _SURE:
            return "undecided"
        return "holds" if self.holds else "fails"


def check_claims(
    sizes: Int[np.ndarray, "replicate model segment"],
    states: Int[np.ndarray, " model"],
    along: Float[np.ndarray, " model"],
) -> dict[str, ClaimResult]:
    """Test every claim.

    Parameters
    ----------
    sizes
        Layers of each segment of each model: entry 0 from all texts, the others the bootstrap replicates.
    states
        States of each model, T+1.
    along
        Scale of each model, from `model_scale`.

    Examples
    --------
    >>> sizes = np.array([[[2, 4, 1], [2, 8, 1], [2, 12, 1]]] * 3)
    >>> results = check_claims(sizes, np.array([7, 11, 15]), np.array([6.0, 7.0, 8.0]))
    >>> [result.verdict for result in results.values()]
    ['holds', 'holds']
    """
    ones = ending_is_one(sizes)
    shares = sizes[:, :, 0] / states
    falls = beginning_trend(shares, along) < 0
    without = [beginning_trend(np.delete(shares[:1], one, 1), np.delete(along, one)) for one in range(len(along))]
    robust = all(np.isfinite(trend[0]) and (trend[0] < 0) == falls[0] for trend in without)
    # A single longer ending refutes "always", so leaving models out does not apply.
    return {
        "ending_is_one_layer": ClaimResult(bool(ones[0]), float(ones[1:].mean()), robust=True),
        "beginning_proportion_falls": ClaimResult(bool(falls[0]), float(falls[1:].mean()), robust),
    }


def ending_is_one(sizes: Int[np.ndarray, "replicate model segment"]) -> Bool[np.ndarray, " replicate"]:
    """Return, for each replicate, whether the last segment is one layer in every model.

    Examples
    --------
    >>> ending_is_one(np.array([[[2, 4, 1], [2, 8, 1]], [[2, 4, 1], [2, 7, 2]]]))
    array([ True, False])
    """
    ones: np.ndarray = (sizes[:, :, -1] == 1).all(axis=1)
    return ones


def model_scale(
    states: Float[np.ndarray, " model"], parameters: Float[np.ndarray, " model"]
) -> tuple[str, Float[np.ndarray, " model"]]:
    """Return the quantity that orders models, and its log10: parameters, or states if some parameters are unknown.

    Examples
    --------
    >>> model_scale(np.array([7.0, 10.0]), np.array([1e6, np.nan]))[0]
    'states'
    """
    if np.isnan(parameters).any():
        return "states", np.log10(states)
    return "parameters", np.log10(parameters)


def beginning_trend(
    proportions: Float[np.ndarray, "replicate model"], along: Float[np.ndarray, " model"]
) -> Float[np.ndarray, " replicate"]:
    """Return the slope of the proportion of beginning layers per tenfold of scale; NaN if all models have one scale.

    Examples
    --------
    >>> beginning_trend(np.array([[0.4, 0.3, 0.2]]), np.array([6.0, 7.0, 8.0])).round(3)
    array([-0.1])
    """
    centered = along - along.mean()
    spread = float(centered @ centered)
    trend: np.ndarray = proportions @ centered / spread if spread > 0 else np.full(len(proportions), np.nan)
    return trend
