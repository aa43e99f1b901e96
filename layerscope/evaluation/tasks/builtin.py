"""Tasks by name: the built-in ones, and where the others come from.

A name is a prefix, a colon and the rest; `LOADERS` says who loads what stands behind each prefix. The built-in tasks were written
for LayerScope and need no download. Knows no tokenizer and no model.
"""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from layerscope.errors import UsageError, at_least, unknown_name
from layerscope.evaluation.tasks.arithmetic import arithmetic
from layerscope.evaluation.tasks.cloze import cloze
from layerscope.evaluation.tasks.commonsense import commonsense
from layerscope.evaluation.tasks.order import order
from layerscope.evaluation.tasks.task import Example, Task

__all__ = ["LOADERS", "TASKS", "BuiltinTask", "builtin_task"]


@dataclass(frozen=True)
class BuiltinTask:
    """A task that comes with LayerScope.

    Attributes
    ----------
    build
        Returns its examples, the same at every call; its name is the task's.
    kind
        ``continuation`` or ``choice``.
    summary
        What it asks, in a sentence.
    """

    build: Callable[[], tuple[Example, ...]]
    kind: Literal["continuation", "choice"]
    summary: str

    @property
    def name(self) -> str:
        """As it is asked for."""
        return f"builtin:{self.build.__name__}"

    @property
    def count(self) -> int:
        """How many examples it has."""
        return len(self.build())


TASKS: dict[str, BuiltinTask] = {
    task.name: task
    for task in (
        BuiltinTask(cloze, "continuation", "Say the last word of a short passage, which the passage makes plain."),
        BuiltinTask(arithmetic, "choice", "Choose among four numbers the sum or difference of two."),
        BuiltinTask(commonsense, "choice", "Choose which of two endings fits an everyday sentence."),
        BuiltinTask(order, "choice", "Choose what is so after one to four steps: swaps, gifts, a route."),
    )
}
"""The built-in tasks by name."""


def _load_builtin(name: str, limit: int | None) -> Task:
    if name not in TASKS:
        raise unknown_name("task", name, TASKS)
    task = TASKS[name]
    return Task(name, task.kind, task.summary, task.build()[:limit])


LOADERS: dict[str, Callable[[str, int | None], Task]] = {"builtin": _load_builtin}
"""Who loads the tasks of each prefix: called with the whole name and the limit (1 or more)."""


def builtin_task(name: str, limit: int | None = None) -> Task:
    """Load a task.

    Parameters
    ----------
    name
        ``builtin:NAME``, one of `TASKS`, or another prefix of `LOADERS` with what it takes.
    limit
        Take the first so many examples.

    Returns
    -------
    Task
        Its examples in their own order, the same at every call.

    Raises
    ------
    UsageError
        An unknown task or prefix, a limit below 1.

    Examples
    --------
    >>> task = builtin_task("builtin:commonsense", limit=2)
    >>> task.kind, task.chance, [example.id for example in task.examples]
    ('choice', 0.5, ['c01a', 'c01b'])
    """
    at_least(1, limit=limit, remedy="leave it out to take every example")
    prefix, colon, _ = name.partition(":")
    if not colon or prefix not in LOADERS:
        # Tasks of lm-eval never come here: `load_task` has them put into tokens by lm-eval itself.
        forms = " or ".join(f"{known}:NAME" for known in (*LOADERS, "lm-eval"))
        close = get_close_matches(name.rpartition(":")[2], [known.partition(":")[2] for known in TASKS], n=1)
        hint = f" Did you mean 'builtin:{close[0]}'?" if close else ""
        raise UsageError(f"task {name!r}: a task is written {forms}.{hint}")
    return LOADERS[prefix](name, limit)
