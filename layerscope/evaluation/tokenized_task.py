"""A task in the tokens of one model: prompts, and where the choices of each example are among them.

This module knows tokens and scores, not schedules or files.
"""

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from layerscope.evaluation.continuation_scores import ContinuationScores, TaskMetrics
from layerscope.evaluation.prompts import Prompt, PromptEncoder
from layerscope.evaluation.task_scores import PER_TOKEN
from layerscope.evaluation.tasks.task import Task
from layerscope.models.model import Model

__all__ = ["ContinuationIndex", "TaskItem", "TokenizedTask", "byte_lengths", "content_digest", "tokenize_task"]

ContinuationIndex = tuple[int, int]
"""Index of a prompt, and of one of its continuations."""


@dataclass(frozen=True)
class TaskItem:
    """One example: its choices among the prompts, and the right one.

    Attributes
    ----------
    id
        Name of the example.
    choices
        Index of each choice; of a text in windows, of each window.
    gold
        Number of the right choice; None if the task does not define one.
    byte_lengths
        UTF-8 length of each choice, without its leading space.
    """

    id: str
    choices: tuple[ContinuationIndex, ...]
    gold: int | None
    byte_lengths: tuple[int, ...]


@dataclass(frozen=True)
class TokenizedTask:
    """The examples of a task in the tokens of one model.

    Attributes
    ----------
    name, chance
        As in `layerscope.evaluation.tasks.task.Task`.
    kind
        As in `Task`, or ``rolling`` for texts in windows, or ``written`` for answers that the model generates.
    prompts
        Prompts to run the model on.
    items
        Examples, in order.
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
        """Index of the right continuation of each prompt; 0 if none is right."""
        gold = [0] * len(self.prompts)
        for item in self.items:
            for prompt, continuation in self.right(item):
                gold[prompt] = continuation
        return gold

    @property
    def target_tokens(self) -> Float[np.ndarray, " example"]:
        """Number of tokens of each right choice; NaN if none is known."""
        counts = [
            [len(self.prompts[prompt].continuations[number]) for prompt, number in self.right(item)]
            for item in self.items
        ]
        return np.array([sum(lengths) if lengths else np.nan for lengths in counts], np.float64)

    @property
    def target_bytes(self) -> Float[np.ndarray, " example"]:
        """UTF-8 length of each right choice; NaN if none is known."""
        counts = [
            item.byte_lengths[0 if self.kind == "rolling" else item.gold or 0] if self.right(item) else np.nan
            for item in self.items
        ]
        return np.array(counts, np.float64)

    @property
    def sizes(self) -> tuple[Float[np.ndarray, " example"] | None, Float[np.ndarray, " example"] | None]:
        """Tokens and bytes of the right choices, by which perplexities are divided; None for a perplexity per example."""
        return (self.target_tokens, self.target_bytes) if self.kind in PER_TOKEN else (None, None)

    @property
    def graded(self) -> bool:
        """Whether `grade` decides which answers are right, instead of the likelihoods of the choices."""
        return False

    def right(self, item: TaskItem) -> tuple[ContinuationIndex, ...]:
        """Return the index of the right answer to an example; empty if none is known."""
        if self.kind == "rolling":
            return item.choices
        return () if item.gold is None else (item.choices[item.gold],)

    def example_of(self, prompt: int) -> str:
        """Return the name of the example that a prompt belongs to."""
        owners = (item.id for item in self.items if any(choice[0] == prompt for choice in item.choices))
        return next(owners, f"of prompt {prompt}")  # a prompt that belongs to no choice, which a task may add

    def grade(self, scores: ContinuationScores) -> TaskMetrics:
        """Return the task's own metrics; none, unless a subclass defines them."""
        return TaskMetrics({}, np.full(len(self.items), np.nan))


def tokenize_task(task: Task, model: Model) -> TokenizedTask:
    """Tokenize a task for a model.

    A context that is too long for the model is truncated on the left; a warning gives the number of such contexts.

    Raises
    ------
    TextsError
        A continuation has no token, or is too long for the model.
    """
    encoder = PromptEncoder(model.tokenizer, model.context)
    prompts, items = [], []
    for number, example in enumerate(task.examples):
        prompts.append(encoder.prompt(example.context, example.choices, f"{task.name} {example.id}"))
        choices = tuple((number, choice) for choice in range(len(example.choices)))
        items.append(TaskItem(example.id, choices, example.gold, byte_lengths(example.choices)))
    if encoder.truncated:
        warnings.warn(
            f"{task.name}: {encoder.truncated} of {len(prompts)} contexts truncated on the left to fit {model.context} tokens",
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
    """Return the UTF-8 length of each choice without its leading space, at least 1.

    Examples
    --------
    >>> byte_lengths([" tea", " café"])
    (3, 5)
    """
    return tuple(max(1, len(choice.strip().encode())) for choice in choices)
