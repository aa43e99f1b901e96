"""The scores of each example of a task, from the log-likelihoods of its continuations."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from layerscope.evaluation.continuation_scores import ContinuationScores
from layerscope.evaluation.tokenized_task import TokenizedTask

__all__ = ["ExampleScores", "score_examples"]


@dataclass(frozen=True)
class ExampleScores:
    """What the answers are worth, example by example.

    Attributes
    ----------
    loss
        Nats a token of the right choice; NaN where none is known.
    nats
        Nats of the right choice, its tokens summed.
    accuracy
        1 where the right choice is the likeliest, or, without others, every token of it the model's own first.
    accuracy_norm
        The same with likelihoods a byte; NaN where there is nothing to choose from.
    """

    loss: Float[np.ndarray, " example"]
    nats: Float[np.ndarray, " example"]
    accuracy: Float[np.ndarray, " example"]
    accuracy_norm: Float[np.ndarray, " example"] = field(repr=False)


def score_examples(exam: TokenizedTask, answers: ContinuationScores) -> ExampleScores:
    """Judge the answers to an exam."""
    nats, right, right_norm = [], [], []
    for question in exam.items:
        places = exam.right(question)
        nats.append(-sum(answers.log_likelihood[place] for place in places) if places else np.nan)
        right_norm.append(np.nan)
        if exam.kind == "choice" and question.gold is not None:
            likelihood = answers.log_likelihood[tuple(np.array(question.choices).T)]
            right.append(float(likelihood.argmax() == question.gold))
            right_norm[-1] = float((likelihood / np.array(question.byte_lengths)).argmax() == question.gold)
        elif exam.kind == "continuation":
            right.append(float(answers.greedy[places[0]]))
        else:
            right.append(np.nan)
    total = np.array(nats, np.float64)
    accuracy = exam.grade(answers).accuracy if exam.graded else np.array(right, np.float64)
    return ExampleScores(total / exam.target_tokens, total, accuracy, np.array(right_norm, np.float64))
