"""From example losses to scores with intervals: pure functions of arrays."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

__all__ = ["PER_TOKEN", "correlation", "drawn", "interval", "perplexities", "rank_correlation", "scores"]

Scores = dict[str, np.ndarray]

Mean = np.ndarray | float

PER_TOKEN = ("choice", "rolling")
"""The kinds of task whose perplexity is that of a token; that of the others is of an example, as lm-eval's LAMBADA."""


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


def perplexities(nats: Mean, tokens: Mean | None, byte_counts: Mean | None) -> dict[str, Mean]:
    """Compute the perplexities from means over examples.

    Parameters
    ----------
    nats
        Mean over examples of the nats of the right answer, its tokens summed.
    tokens, byte_counts
        Mean over examples of its tokens and of its bytes; None for a task whose perplexity is that of an example, as
        lm-eval's LAMBADA.

    Returns
    -------
    dict
        ``perplexity`` an example or a token; ``byte_perplexity`` and ``bits_per_byte``, NaN without bytes.

    Examples
    --------
    >>> found = perplexities(200.0, 100.0, 400.0)
    >>> {name: round(float(value), 3) for name, value in found.items()}
    {'perplexity': 7.389, 'byte_perplexity': 1.649, 'bits_per_byte': 0.721}
    >>> float(perplexities(2.0, None, None)["perplexity"])
    7.38905609893065
    """
    per_byte = nats * np.nan if byte_counts is None else nats / byte_counts
    with np.errstate(over="ignore"):
        perplexity, byte_perplexity = np.exp(nats if tokens is None else nats / tokens), np.exp(per_byte)
    return {"perplexity": perplexity, "byte_perplexity": byte_perplexity, "bits_per_byte": per_byte / np.log(2)}


def scores(
    example: Mapping[str, Float[np.ndarray, "run example"]],
    weights: Float[np.ndarray, "replicate example"],
    chance: float,
    tokens: Float[np.ndarray, " example"] | None = None,
    byte_counts: Float[np.ndarray, " example"] | None = None,
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
    tokens, byte_counts
        Of the right answer of each example, for perplexities a token and a byte; see `perplexities`.

    Returns
    -------
    dict
        ``loss``, ``perplexity``, ``byte_perplexity``, ``bits_per_byte``, ``accuracy``, ``accuracy_norm``, ``normalized`` and
        ``loss_difference``. The normalized score is NaN where the full model is no better than guessing.
    """
    mean = {name: weights @ values.T for name, values in example.items()}
    better = mean["accuracy"][:, :1] - chance
    with np.errstate(invalid="ignore", divide="ignore"):
        normalized = np.where(better > 0, (mean["accuracy"] - chance) / better, np.nan)
    sizes = [None if size is None else (weights @ size)[:, None] for size in (tokens, byte_counts)]
    return {
        "loss": mean["loss"],
        **perplexities(mean["nats"], *sizes),
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
