"""Load a task by name, in the tokens of a model.

A name is a prefix, a colon and the rest, such as ``builtin:cloze``. `SOURCES` has one source of tasks for each prefix.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import version
from pathlib import Path

from layerscope.errors import UsageError, at_least
from layerscope.evaluation.tasks.builtin import TASKS, builtin_task
from layerscope.evaluation.tokenized_task import TokenizedTask, tokenize_task
from layerscope.models.model import Model

__all__ = ["SOURCES", "TaskSource", "check_names", "load_task", "versions"]


@dataclass(frozen=True)
class TaskSource:
    """Source of the tasks of one prefix.

    Attributes
    ----------
    check
        Called as ``check(name, include_path)`` before a model is loaded; raises an error if there is no such task.
    load
        Called as ``load(name, model, limit, include_path)``; returns the task in the tokens of the model.
    """

    check: Callable[[str, Path | None], object]
    load: Callable[[str, Model, int | None, Path | None], TokenizedTask]


def _check_builtin(name: str, include_path: Path | None) -> None:
    builtin_task(name)


def _load_builtin(name: str, model: Model, limit: int | None, include_path: Path | None) -> TokenizedTask:
    return tokenize_task(builtin_task(name, limit), model)


# lm-eval takes seconds to import and may be missing, so it is imported on use only.
def _check_lm_eval(name: str, include_path: Path | None) -> None:
    from layerscope.evaluation.lm_eval.index import find_definition

    find_definition(name.partition(":")[2], include_path)


def _load_lm_eval(name: str, model: Model, limit: int | None, include_path: Path | None) -> TokenizedTask:
    from layerscope.evaluation.lm_eval.isolation import silent

    _check_lm_eval(name, include_path)
    with silent():
        from layerscope.evaluation.lm_eval.tokenization import tokenize_lm_eval_task
    return tokenize_lm_eval_task(name.partition(":")[2], model, limit, include_path)


SOURCES: dict[str, TaskSource] = {
    "builtin": TaskSource(_check_builtin, _load_builtin),
    "lm-eval": TaskSource(_check_lm_eval, _load_lm_eval),
}
"""The source of tasks of each prefix."""


def check_names(names: Iterable[str], include_path: str | os.PathLike[str] | None = None) -> None:
    """Raise an error for a task that does not exist, before a model is loaded.

    Raises
    ------
    UsageError
        A task does not exist, or a folder of definitions is given without an lm-eval task.
    """
    names = list(names)
    if include_path is not None and not any(map(_is_lm_eval, names)):
        raise UsageError(f"include path {os.fspath(include_path)}: it is for lm-eval tasks, and no task is one")
    for name in names:
        _source(name).check(name, None if include_path is None else Path(include_path))


def versions(names: Iterable[str]) -> dict[str, str]:
    """Return the version of lm-eval if any of the tasks is from lm-eval, for the provenance."""
    return {"lm_eval": version("lm-eval")} if any(map(_is_lm_eval, names)) else {}


def load_task(
    name: str, model: Model, limit: int | None = None, include_path: str | os.PathLike[str] | None = None
) -> TokenizedTask:
    """Load a task in the tokens of a model.

    Parameters
    ----------
    name
        ``builtin:NAME``, ``lm-eval:NAME``, or another prefix of `SOURCES`.
    model
        A decoder.
    limit
        Maximum number of examples; the first ones are taken.
    include_path
        Folder of task definitions for lm-eval.

    Raises
    ------
    UsageError
        The task or the prefix is unknown, or the limit is below 1.
    TextsError
        Its data cannot be read.
    """
    at_least(1, limit=limit, remedy="leave it out to take every example")
    return _source(name).load(name, model, limit, None if include_path is None else Path(include_path))


def _is_lm_eval(name: str) -> bool:
    return name.startswith("lm-eval:")


def _source(name: str) -> TaskSource:
    prefix, colon, _ = name.partition(":")
    if colon and prefix in SOURCES:
        return SOURCES[prefix]
    forms = " or ".join(f"{known}:NAME" for known in SOURCES)
    close = get_close_matches(name.rpartition(":")[2], [known.partition(":")[2] for known in TASKS], n=1)
    hint = f" Did you mean 'builtin:{close[0]}'?" if close else ""
    raise UsageError(f"task {name!r}: write a task as {forms}.{hint}")
