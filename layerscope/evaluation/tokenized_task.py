"""A task put to a model: its prompts in tokens, and how answers are judged.

Knows tokens and scores; knows no schedule and no file.
"""

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from layerscope.evaluation.continuation_scores import ContinuationScores, TaskMetrics
from layerscope.evaluation.prompts import Encoder, Prompt
from layerscope.evaluation.task_scores import PER_TOKEN
from layerscope.evaluation.tasks.task import Task
from layerscope.models.model import Model

__all__ = ["Place", "TaskItem", "TokenizedTask", "byte_lengths", "content_digest", "tokenize_task"]

Place = tuple[int, int]


@dataclass(frozen=True)
class TaskItem:
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
class TokenizedTask:
    """The questions of a task in the tokens of one model.

    Attributes
    ----------
    name, chance
        Those of the task; see `layerscope.evaluation.tasks.task.Task`.
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
    items: tuple[TaskItem, ...]

    @property
    def digest(self) -> str:
        """Hash of the prompts and items: tasks with equal digests ask the same."""
        return content_digest(self.prompts, self.items)

    @property
    def gold(self) -> list[int]:
        """The continuation of each prompt that is right; the first where none is."""
        gold = [0] * len(self.prompts)
        for question in self.items:
            for prompt, continuation in self.right(question):
                gold[prompt] = continuation
        return gold

    @property
    def target_tokens(self) -> Float[np.ndarray, " example"]:
        """How many tokens the right choice of each question has; NaN where there is none."""
        counts = [
            [len(self.prompts[prompt].continuations[number]) for prompt, number in self.right(question)]
            for question in self.items
        ]
        return np.array([sum(lengths) if lengths else np.nan for lengths in counts], np.float64)

    @property
    def target_bytes(self) -> Float[np.ndarray, " example"]:
        """How many bytes of UTF-8 the right choice of each question has; NaN where there is none."""
        counts = [
            question.byte_lengths[0 if self.kind == "rolling" else question.gold or 0]
            if self.right(question)
            else np.nan
            for question in self.items
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

    def right(self, question: TaskItem) -> tuple[Place, ...]:
        """Return where the right answer to a question stands; empty where none is known."""
        if self.kind == "rolling":
            return question.choices
        return () if question.gold is None else (question.choices[question.gold],)

    def example_of(self, prompt: int) -> str:
        """Return the name of the example that a prompt belongs to."""
        owners = (question.id for question in self.items if any(place[0] == prompt for place in question.choices))
        return next(owners, f"of prompt {prompt}")  # a prompt that no choice stands in is a question of the task's own

    def grade(self, answers: ContinuationScores) -> TaskMetrics:
        """Return what the task's own metrics say of some answers: nothing, where it has none."""
        return TaskMetrics({}, np.full(len(self.items), np.nan))


def tokenize_task(task: Task, model: Model) -> TokenizedTask:
    """Put a task into the tokens of a model.

    A context that is too long for the model loses its beginning; how many did is said in a warning.

    Raises
    ------
    TextsError
        A continuation that gives no token, or alone is too long for the model.
    """
    encoder = Encoder(model.tokenizer, model.context)
    prompts, items = [], []
    for number, example in enumerate(task.examples):
        prompts.append(encoder.prompt(example.context, example.choices, f"{task.name} {example.id}"))
        places = tuple((number, choice) for choice in range(len(example.choices)))
        items.append(TaskItem(example.id, places, example.gold, byte_lengths(example.choices)))
    if encoder.shortened:
        warnings.warn(
            f"{task.name}: {encoder.shortened} of {len(prompts)} contexts were longer than the {model.context} tokens the model "
            "takes and lost their beginning",
            stacklevel=2,
        )
    return TokenizedTask(task.name, task.kind, task.chance, tuple(prompts), tuple(items))


def content_digest(content: tuple[object, ...], items: tuple[TaskItem, ...]) -> str:
    """Return a hash of what a task asks.

    Sweep files and journals store it, and a resumed sweep compares it. The hashed text must therefore never change.
    """
    text = repr((content, items)).replace(
        "TaskItem(", "Question("
    )  # the name of the class when the first files were written
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def byte_lengths(choices: Sequence[str]) -> tuple[int, ...]:
    """Return the UTF-8 lengths of some choices, the space before each not counted; at least 1.

    Examples
    --------
    >>> byte_lengths([" tea", " café"])
    (3, 5)
    """
    return tuple(max(1, len(choice.strip().encode())) for choice in choices)
