"""Two little tasks in the words of the tiny tokenizer, and sweeps that know no other."""

import random

import pytest

import layerscope.evaluation.sweep as sweep_module
from layerscope.evaluation.tasks.task import Example, Task
from layerscope.evaluation.tokenized_task import tokenize_task
from layerscope.models.model import Model

_DRAW = random.Random(7)


def _words(least: int, most: int) -> str:
    return " ".join(f"w{_DRAW.randrange(95)}" for _ in range(_DRAW.randint(least, most)))


CLOZE = Task(
    "test:cloze",
    "continuation",
    "Words after words.",
    tuple(Example(f"c{number}", _words(2, 12), (f" {_words(1, 3)}",)) for number in range(9)),
)
CHOICES = Task(
    "test:choices",
    "choice",
    "Words against words.",
    tuple(
        Example(f"q{number}", _words(2, 9), tuple(f" {_words(1, 3)}" for _ in range(2 + number % 3)), number % 2)
        for number in range(7)
    ),
)


def use_tiny_tasks(patch: pytest.MonkeyPatch) -> None:
    """Let sweeps load these tasks."""
    tasks = {task.name: task for task in (CLOZE, CHOICES)}

    def load(name: str, model: Model, limit: int | None, include_path: object) -> object:
        task = tasks[name]
        return tokenize_task(Task(task.name, task.kind, task.summary, task.examples[:limit]), model)

    patch.setattr(sweep_module, "load_task", load)
    patch.setattr(sweep_module, "check_names", lambda names, include_path: None)
