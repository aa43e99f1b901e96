"""From example losses to scores with intervals: pure functions of arrays."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

__all__ = ["correlation", "drawn", "interval", "rank_correlation", "scores"]

Scores = dict[str, np.ndarray]


def drawn(examples: int, replicates: int, seed: int) -> Float[np.ndarray, "replicate example"]:
    """Draw the weights of bootstrap replicates over examples: how often each is drawn, over their number.

    All runs and tasks of a sweep that have the same examples share the draw, so that what differs between runs is paired.

    Examples
    --------
    >>> drawn(4, 2, seed=0).sum(axis=1)
    array([1., 1.])
    """
    generator = np.random.default_rng(seed)
    return generator.multinomial(examples, np.full(examples, 1 / examples), size=replicates) / examples


def scores(
    example: Mapping[str, Float[np.ndarray, "run example"]],
    weights: Float[np.ndarray, "replicate example"],
    chance: float,
) -> dict[str, Float[np.ndarray, "replicate run"]]:
    """Compute the scores of all runs from what their examples gave, under each replicate's weights.

    Parameters
    ----------
    example
        ``loss``, ``nats``, ``accuracy`` and ``accuracy_norm`` of every example; see `layerscope.evaluation.exam.Judgement`.
        Run 0 is the full model.
    weights
        Of the examples; one line of equal weights gives the scores themselves.
    chance
        The accuracy of guessing.

    Returns
    -------
    dict
        ``loss``, ``perplexity``, ``accuracy``, ``accuracy_norm``, ``normalized`` and ``loss_difference``. The normalized
        score is NaN where the full model is no better than guessing.
    """
    mean = {name: weights @ values.T for name, values in example.items()}
    better = mean["accuracy"][:, :1] - chance
    with np.errstate(invalid="ignore", divide="ignore"):
        normalized = np.where(better > 0, (mean["accuracy"] - chance) / better, np.nan)
    with np.errstate(over="ignore"):
        perplexity = np.exp(mean["nats"])
    return {
        "loss": mean["loss"],
        "perplexity": perplexity,
        "accuracy": mean["accuracy"],
        "accuracy_norm": mean["accuracy_norm"],
        "normalized": normalized,
        "loss_difference": mean["loss"] - mean["loss"][:, :1],
    }


def interval(replicates: Float[np.ndarray, "replicate *rest"]) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the 95 % percentile interval; NaN where no replicate has a value.

    Examples
    --------
    >>> low, high = interval(np.arange(101.0)[:, None])
    >>> low, high
    (array([2.5]), array([97.5]))
    """
    usable = ~np.isnan(replicates).all(axis=0)
    low, high = np.full((2, *replicates.shape[1:]), np.nan)
    if usable.any():
        low[usable], high[usable] = np.nanpercentile(replicates[:, usable], [2.5, 97.5], axis=0)
    return low, high


def correlation(one: Float[np.ndarray, " run"], other: Float[np.ndarray, " run"]) -> float:
    """Return Spearman's rank correlation (ties share the mean rank); NaN where either is constant, or of fewer than 3.

    Examples
    --------
    >>> correlation(np.array([1.0, 2.0, 3.0]), np.array([1.0, 4.0, 9.0]))
    1.0
    """
    usable = np.isfinite(one) & np.isfinite(other)
    if usable.sum() < 3:
        return float("nan")
    ranks = [rankdata(values[usable]) for values in (one, other)]
    centred = [rank - rank.mean() for rank in ranks]
    scale = np.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum())
    return float((centred[0] * centred[1]).sum() / scale) if scale > 0 else float("nan")


def rank_correlation(
    drift: Float[np.ndarray, " run"], loss: Float[np.ndarray, " run"], replicates: int, seed: int
) -> tuple[float, float, float]:
    """Return the rank correlation of drift with loss over runs, and its 95 % interval from a bootstrap over runs.

    Examples
    --------
    >>> rank_correlation(np.arange(9.0), np.arange(9.0) ** 2, replicates=20, seed=0)
    (1.0, 1.0, 1.0)
    """
    value = correlation(drift, loss)
    if not replicates:
        return value, float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    chosen = generator.integers(len(drift), size=(replicates, len(drift)))
    found = np.array([correlation(drift[draw], loss[draw]) for draw in chosen])
    low, high = interval(found[:, None])
    return value, float(low[0]), float(high[0])
