"""A task put to a model: its prompts in tokens, and how answers are judged.

Knows tokens and scores; knows no schedule and no file.
"""

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from layerscope.evaluation.examples import Task
from layerscope.evaluation.prompts import Encoder, Prompt
from layerscope.models.model import Model

__all__ = ["Answers", "Exam", "Judgement", "Question", "byte_lengths", "exam_of", "judge"]


@dataclass(frozen=True)
class Question:
    """One example: where its choices stand among the prompts, and which is right.

    Attributes
    ----------
    id
        The example's name.
    choices
        For each choice the number of its prompt and which continuation of that it is.
    gold
        Which choice is right.
    byte_lengths
        Of each choice's text in UTF-8, the space before it not counted.
    """

    id: str
    choices: tuple[tuple[int, int], ...]
    gold: int
    byte_lengths: tuple[int, ...]


@dataclass(frozen=True)
class Exam:
    """The questions of a task in the tokens of one model.

    Attributes
    ----------
    name, kind, chance
        Those of the task; see `layerscope.evaluation.examples.Task`.
    prompts
        What the model is run on.
    questions
        The examples, in order.
    """

    name: str
    kind: Literal["continuation", "choice"]
    chance: float
    prompts: tuple[Prompt, ...]
    questions: tuple[Question, ...]

    @property
    def digest(self) -> str:
        """A hash of the prompts and questions: two exams of the same digest ask the same."""
        return hashlib.sha256(repr((self.prompts, self.questions)).encode()).hexdigest()[:16]

    @property
    def gold(self) -> list[int]:
        """The continuation of each prompt that is right; the first where none is."""
        gold = [0] * len(self.prompts)
        for question in self.questions:
            prompt, continuation = question.choices[question.gold]
            gold[prompt] = continuation
        return gold

    @property
    def target_tokens(self) -> Int[np.ndarray, " example"]:
        """How many tokens the right choice of each question has."""
        right = [question.choices[question.gold] for question in self.questions]
        return np.array([len(self.prompts[prompt].continuations[number]) for prompt, number in right])


@dataclass
class Answers:
    """What a model under one schedule thinks of all continuations, filled in batch by batch.

    Attributes
    ----------
    log_likelihood, greedy
        See `layerscope.evaluation.scoring.PromptScores`, for all prompts of an exam.
    """

    log_likelihood: Float[np.ndarray, "prompt continuation"]
    greedy: Bool[np.ndarray, "prompt continuation"]

    @classmethod
    def empty(cls, exam: Exam) -> "Answers":
        """Make room for the answers to all prompts."""
        shape = (len(exam.prompts), max(len(prompt.continuations) for prompt in exam.prompts))
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
class Judgement:
    """What the answers are worth, example by example.

    Attributes
    ----------
    loss
        Nats a token of the right choice.
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


def judge(exam: Exam, answers: Answers) -> Judgement:
    """Judge the answers to an exam."""
    nats, right, right_norm = [], [], []
    for question in exam.questions:
        places = tuple(np.array(question.choices).T)
        likelihood = answers.log_likelihood[places]
        nats.append(-likelihood[question.gold])
        if exam.kind == "choice":
            right.append(likelihood.argmax() == question.gold)
            right_norm.append((likelihood / np.array(question.byte_lengths)).argmax() == question.gold)
        else:
            right.append(bool(answers.greedy[places][0]))
            right_norm.append(np.nan)
    total = np.array(nats, np.float64)
    return Judgement(total / exam.target_tokens, total, np.array(right, np.float64), np.array(right_norm, np.float64))


def exam_of(task: Task, model: Model) -> Exam:
    """Put a task into the tokens of a model.

    A context that is too long for the model loses its beginning; how many did is said in a warning.

    Raises
    ------
    TextsError
        A continuation that gives no token, or alone is too long for the model.
    """
    encoder = Encoder(model.tokenizer, model.context)
    prompts, questions = [], []
    for number, example in enumerate(task.examples):
        prompts.append(encoder.prompt(example.context, example.choices, f"{task.name} {example.id}"))
        places = tuple((number, choice) for choice in range(len(example.choices)))
        questions.append(Question(example.id, places, example.gold, byte_lengths(example.choices)))
    if encoder.shortened:
        warnings.warn(
            f"{task.name}: {encoder.shortened} of {len(prompts)} contexts were longer than the {model.context} tokens the model "
            "takes and lost their beginning",
            stacklevel=2,
        )
    return Exam(task.name, task.kind, task.chance, tuple(prompts), tuple(questions))


def byte_lengths(choices: Sequence[str]) -> tuple[int, ...]:
    """Return the UTF-8 lengths of some choices, the space before each not counted; at least 1.

    Examples
    --------
    >>> byte_lengths([" tea", " café"])
    (3, 5)
    """
    return tuple(max(1, len(choice.strip().encode())) for choice in choices)
