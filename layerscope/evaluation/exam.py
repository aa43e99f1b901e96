"""A task put to a model: its prompts in tokens, and how answers are judged.

Knows tokens and scores; knows no schedule and no file.
"""

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from layerscope.evaluation.examples import Task
from layerscope.evaluation.intervals import PER_TOKEN
from layerscope.evaluation.prompts import Encoder, Prompt
from layerscope.models.model import Model

__all__ = ["Answers", "Exam", "Grades", "Judgement", "Question", "byte_lengths", "exam_of", "judge"]

Place = tuple[int, int]


@dataclass(frozen=True)
class Question:
    """One example: where its choices stand among the prompts, and which is right.

    Attributes
    ----------
    id
        The example's name.
    choices
        For each choice the number of its prompt and which continuation of that it is; of a text in windows, each window.
    gold
        Which choice is right; None where the task does not say.
    byte_lengths
        Of each choice's text in UTF-8, the space before it not counted.
    """

    id: str
    choices: tuple[Place, ...]
    gold: int | None
    byte_lengths: tuple[int, ...]


@dataclass(frozen=True)
class Exam:
    """The questions of a task in the tokens of one model.

    Attributes
    ----------
    name, chance
        Those of the task; see `layerscope.evaluation.examples.Task`.
    kind
        Likewise; besides, ``rolling`` for whole texts in windows, and ``written`` for answers that the model writes.
    prompts
        What the model is run on.
    questions
        The examples, in order.
    """

    name: str
    kind: Literal["continuation", "choice", "rolling", "written"]
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
            for prompt, continuation in self.right(question):
                gold[prompt] = continuation
        return gold

    @property
    def target_tokens(self) -> Float[np.ndarray, " example"]:
        """How many tokens the right choice of each question has; NaN where there is none."""
        counts = [
            [len(self.prompts[prompt].continuations[number]) for prompt, number in self.right(question)]
            for question in self.questions
        ]
        return np.array([sum(lengths) if lengths else np.nan for lengths in counts], np.float64)

    @property
    def target_bytes(self) -> Float[np.ndarray, " example"]:
        """How many bytes of UTF-8 the right choice of each question has; NaN where there is none."""
        counts = [
            question.byte_lengths[0 if self.kind == "rolling" else question.gold or 0]
            if self.right(question)
            else np.nan
            for question in self.questions
        ]
        return np.array(counts, np.float64)

    @property
    def sizes(self) -> tuple[Float[np.ndarray, " example"] | None, Float[np.ndarray, " example"] | None]:
        """Tokens and bytes of the right answers, by which perplexities are taken; None where they are taken an example."""
        return (self.target_tokens, self.target_bytes) if self.kind in PER_TOKEN else (None, None)

    @property
    def graded(self) -> bool:
        """Whether `grade` and not `judge` says which examples are answered rightly."""
        return False

    def right(self, question: Question) -> tuple[Place, ...]:
        """Return where the right answer to a question stands; empty where none is known."""
        if self.kind == "rolling":
            return question.choices
        return () if question.gold is None else (question.choices[question.gold],)

    def example_of(self, prompt: int) -> str:
        """Return the name of the example that a prompt belongs to."""
        owners = (question.id for question in self.questions if any(place[0] == prompt for place in question.choices))
        return next(owners, f"of prompt {prompt}")  # a prompt that no choice stands in is a question of the task's own

    def grade(self, answers: "Answers") -> "Grades":
        """Return what the task's own metrics say of some answers: nothing, where it has none."""
        return Grades({}, np.full(len(self.questions), np.nan))


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
        shape = (len(exam.prompts), max((len(prompt.continuations) for prompt in exam.prompts), default=0))
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
class Grades:
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


@dataclass(frozen=True)
class Judgement:
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


def judge(exam: Exam, answers: Answers) -> Judgement:
    """Judge the answers to an exam."""
    nats, right, right_norm = [], [], []
    for question in exam.questions:
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
    return Judgement(total / exam.target_tokens, total, accuracy, np.array(right_norm, np.float64))


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
