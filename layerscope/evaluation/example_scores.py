"""Score each example of a task from the log-likelihoods of its continuations."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from layerscope.evaluation.continuation_scores import ContinuationScores
from layerscope.evaluation.tokenized_task import TokenizedTask

__all__ = ["ExampleScores", "score_examples"]


@dataclass(frozen=True)
class ExampleScores:
    """Scores of each example.

    Attributes
    ----------
    loss
        Nats per token of the right choice; NaN if none is known.
    nats
        Nats of the right choice, summed over its tokens.
    accuracy
        1 if the right choice is the likeliest; with a single choice, if each of its tokens is the model's first choice.
    accuracy_norm
        The same with likelihoods per byte; NaN with a single choice.
    """

    loss: Float[np.ndarray, " example"]
    nats: Float[np.ndarray, " example"]
    accuracy: Float[np.ndarray, " example"]
    accuracy_norm: Float[np.ndarray, " example"] = field(repr=False)


def score_examples(task: TokenizedTask, scores: ContinuationScores) -> ExampleScores:
    """Return the scores of each example of a task."""
    nats, accuracy, accuracy_norm = [], [], []
    for item in task.items:
        right = task.right(item)
        nats.append(-sum(scores.log_likelihood[index] for index in right) if right else np.nan)
        accuracy_norm.append(np.nan)
        if task.kind == "choice" and item.gold is not None:
            likelihood = scores.log_likelihood[tuple(np.array(item.choices).T)]
            accuracy.append(float(likelihood.argmax() == item.gold))
            accuracy_norm[-1] = float((likelihood / np.array(item.byte_lengths)).argmax() == item.gold)
        elif task.kind == "continuation":
            accuracy.append(float(scores.greedy[right[0]]))
        else:
            accuracy.append(np.nan)
    total = np.array(nats, np.float64)
    final = task.grade(scores).accuracy if task.graded else np.array(accuracy, np.float64)
    return ExampleScores(total / task.target_tokens, total, final, np.array(accuracy_norm, np.float64))
