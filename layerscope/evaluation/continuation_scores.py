"""The result of running a task: the log-likelihoods of its continuations, or the task's own metrics."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from layerscope.evaluation.prompts import Prompt

__all__ = ["ContinuationScores", "TaskMetrics"]


@dataclass
class ContinuationScores:
    """Log-likelihood of every continuation under one schedule, filled in batch by batch.

    Attributes
    ----------
    log_likelihood, greedy
        As in `layerscope.evaluation.scoring.PromptScores`, for all prompts of a task.
    """

    log_likelihood: Float[np.ndarray, "prompt continuation"]
    greedy: Bool[np.ndarray, "prompt continuation"]

    @classmethod
    def empty(cls, prompts: Sequence[Prompt]) -> "ContinuationScores":
        """Return scores to fill in, NaN for every continuation."""
        shape = (len(prompts), max((len(prompt.continuations) for prompt in prompts), default=0))
        return cls(np.full(shape, np.nan), np.zeros(shape, bool))

    def fill(
        self,
        prompts: Sequence[int],
        log_likelihood: Float[np.ndarray, "batch continuation"],
        greedy: Bool[np.ndarray, "batch continuation"],
    ) -> None:
        """Fill in the scores of some prompts."""
        continuations = log_likelihood.shape[1]
        self.log_likelihood[list(prompts), :continuations] = log_likelihood
        self.greedy[list(prompts), :continuations] = greedy


@dataclass(frozen=True)
class TaskMetrics:
    """Metrics that a task defines itself.

    Attributes
    ----------
    metrics
        Value over all examples of each metric, by its own name.
    accuracy
        Main metric of each example.
    """

    metrics: dict[str, float]
    accuracy: Float[np.ndarray, " example"]
