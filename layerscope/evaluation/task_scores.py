"""Scores of a task from the scores of its examples: pure functions of arrays."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

__all__ = ["PER_TOKEN", "mean_scores", "perplexities"]

Mean = np.ndarray | float

PER_TOKEN = ("choice", "rolling")
"""Kinds of task whose perplexity is per token; the others have one per example, as lm-eval's LAMBADA."""


def perplexities(nats: Mean, tokens: Mean | None, byte_counts: Mean | None) -> dict[str, Mean]:
    """Compute the perplexities from means over examples.

    Parameters
    ----------
    nats
        Mean over examples of the nats of the right answer, its tokens summed.
    tokens, byte_counts
        Mean over examples of its tokens and of its bytes; None for a task with a perplexity per example.

    Returns
    -------
    dict
        ``perplexity`` per example or per token; ``byte_perplexity`` and ``bits_per_byte``, NaN without bytes.

    Examples
    --------
    >>> values = perplexities(200.0, 100.0, 400.0)
    >>> {name: round(float(value), 3) for name, value in values.items()}
    {'perplexity': 7.389, 'byte_perplexity': 1.649, 'bits_per_byte': 0.721}
    >>> float(perplexities(2.0, None, None)["perplexity"])
    7.38905609893065
    """
    per_byte = nats * np.nan if byte_counts is None else nats / byte_counts
    with np.errstate(over="ignore"):
        perplexity, byte_perplexity = np.exp(nats if tokens is None else nats / tokens), np.exp(per_byte)
    return {"perplexity": perplexity, "byte_perplexity": byte_perplexity, "bits_per_byte": per_byte / np.log(2)}


def mean_scores(
    example: Mapping[str, Float[np.ndarray, "run example"]],
    weights: Float[np.ndarray, "replicate example"],
    chance: float,
    tokens: Float[np.ndarray, " example"] | None = None,
    byte_counts: Float[np.ndarray, " example"] | None = None,
) -> dict[str, Float[np.ndarray, "replicate run"]]:
    """Compute the scores of all runs from the scores of their examples, for each row of weights.

    Parameters
    ----------
    example
        ``loss``, ``nats``, ``accuracy`` and ``accuracy_norm`` of every example, as in
        `layerscope.evaluation.example_scores.ExampleScores`. Run 0 is the full model.
    weights
        Weights of the examples; a single row of equal weights gives the scores themselves.
    chance
        Accuracy of guessing.
    tokens, byte_counts
        Length of the right answer of each example; see `perplexities`.

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
