"""What a run of a task gives: the log-likelihoods of its continuations, or the task's own metrics."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from layerscope.evaluation.prompts import Prompt

__all__ = ["ContinuationScores", "TaskMetrics"]


@dataclass
class ContinuationScores:
    """What a model under one schedule thinks of all continuations, filled in batch by batch.

    Attributes
    ----------
    log_likelihood, greedy
        See `layerscope.evaluation.scoring.PromptScores`, for all prompts of an exam.
    """

    log_likelihood: Float[np.ndarray, "prompt continuation"]
    greedy: Bool[np.ndarray, "prompt continuation"]

    @classmethod
    def empty(cls, prompts: Sequence[Prompt]) -> "ContinuationScores":
        """Make room for the answers to all prompts."""
        shape = (len(prompts), max((len(prompt.continuations) for prompt in prompts), default=0))
        return cls(np.full(shape, np.nan), np.zeros(shape, bool))

    def take(
        self,
        prompts: Sequence[int],
        log_likelihood: Float[np.ndarray, "batch continuation"],
        greedy: Bool[np.ndarray, "batch continuation"],
    ) -> None:
        """Fill in the answers to some prompts."""
        choices = log_likelihood.shape[1]
        self.log_likelihood[list(prompts), :choices] = log_likelihood
        self.greedy[list(prompts), :choices] = greedy


@dataclass(frozen=True)
class TaskMetrics:
    """What a task's own metrics say of a model's answers.

    Attributes
    ----------
    metrics
        Over all examples, by their own names.
    accuracy
        The main one, example by example.
    """

    metrics: dict[str, float]
    accuracy: Float[np.ndarray, " example"]
