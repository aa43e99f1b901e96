"""Tasks by name, put into the tokens of a model."""

import os
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from layerscope.errors import UsageError, at_least
from layerscope.evaluation.tasks.builtin import builtin_task
from layerscope.evaluation.tokenized_task import TokenizedTask, tokenize_task
from layerscope.models.model import Model

__all__ = ["check_names", "load_task", "versions"]

_LM_EVAL = "lm-eval:"


def check_names(names: Iterable[str], include_path: str | os.PathLike[str] | None = None) -> None:
    """Refuse tasks that do not exist, before a model is loaded for them.

    Raises
    ------
    UsageError
        When one does not, or a folder of definitions is given for none.
    """
    names = list(names)
    if include_path is not None and not any(map(_of_lm_eval, names)):
        raise UsageError(f"include path {os.fspath(include_path)}: it is for lm-eval tasks, and none is asked for")
    for name in names:
        if _of_lm_eval(name):
            from layerscope.evaluation.lm_eval.index import find_definition

            find_definition(name.removeprefix(_LM_EVAL), None if include_path is None else Path(include_path))
        else:
            builtin_task(name)


def _of_lm_eval(name: str) -> bool:
    return name.startswith(_LM_EVAL)


def versions(names: Iterable[str]) -> dict[str, str]:
    """Return the version of lm-eval if any of some tasks is of it: a fact for the provenance."""
    return {"lm_eval": version("lm-eval")} if any(map(_of_lm_eval, names)) else {}


def load_task(
    name: str, model: Model, limit: int | None = None, include_path: str | os.PathLike[str] | None = None
) -> TokenizedTask:
    """Load a task and put it into the tokens of a model.

    Raises
    ------
    UsageError
        An unknown task.
    TextsError
        Its data cannot be had.
    """
    if _of_lm_eval(name):
        return _lm_eval_exam(name.removeprefix(_LM_EVAL), model, limit, include_path)
    return tokenize_task(builtin_task(name, limit), model)


def _lm_eval_exam(
    name: str, model: Model, limit: int | None, include_path: str | os.PathLike[str] | None
) -> TokenizedTask:
    # lm-eval takes seconds to import and may not be there: names are checked first, and it is reached for only on use.
    from layerscope.evaluation.lm_eval.index import find_definition
    from layerscope.evaluation.lm_eval.isolation import silent

    at_least(1, limit=limit, remedy="leave it out to take every example")
    folder = None if include_path is None else Path(include_path)
    find_definition(name, folder)
    with silent():
        from layerscope.evaluation.lm_eval.tokenization import tokenize_lm_eval_task
    return tokenize_lm_eval_task(name, model, limit, folder)
