"""The built-in tasks: written for LayerScope, no download needed. Imports no tokenizer and no model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from layerscope.errors import unknown_name
from layerscope.evaluation.tasks.arithmetic import arithmetic
from layerscope.evaluation.tasks.cloze import cloze
from layerscope.evaluation.tasks.commonsense import commonsense
from layerscope.evaluation.tasks.order import order
from layerscope.evaluation.tasks.task import Example, Task

__all__ = ["TASKS", "BuiltinTask", "builtin_task"]


@dataclass(frozen=True)
class BuiltinTask:
    """A task that comes with LayerScope.

    Attributes
    ----------
    build
        Returns the examples, the same at every call. Its name is the name of the task.
    kind
        ``continuation`` or ``choice``.
    summary
        Description in one sentence.
    """

    build: Callable[[], tuple[Example, ...]]
    kind: Literal["continuation", "choice"]
    summary: str

    @property
    def name(self) -> str:
        """Name with its prefix."""
        return f"builtin:{self.build.__name__}"

    @property
    def count(self) -> int:
        """Number of examples."""
        return len(self.build())


TASKS: dict[str, BuiltinTask] = {
    task.name: task
    for task in (
        BuiltinTask(cloze, "continuation", "Predict the last word of a short passage that makes it plain."),
        BuiltinTask(arithmetic, "choice", "Choose among four numbers the sum or difference of two."),
        BuiltinTask(commonsense, "choice", "Choose which of two endings fits an everyday sentence."),
        BuiltinTask(order, "choice", "Choose the outcome of one to four steps: swaps, gifts, a route."),
    )
}
"""The built-in tasks by name."""


def builtin_task(name: str, limit: int | None = None) -> Task:
    """Return a built-in task.

    Parameters
    ----------
    name
        ``builtin:NAME``, a key of `TASKS`.
    limit
        Maximum number of examples, 1 or more; the first ones are taken.

    Raises
    ------
    UsageError
        The task is unknown.

    Examples
    --------
    >>> task = builtin_task("builtin:commonsense", limit=2)
    >>> task.kind, task.chance, [example.id for example in task.examples]
    ('choice', 0.5, ['c01a', 'c01b'])
    """
    if name not in TASKS:
        raise unknown_name("task", name, TASKS)
    task = TASKS[name]
    return Task(name, task.kind, task.summary, task.build()[:limit])
