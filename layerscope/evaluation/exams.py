"""Tasks by name, put into the tokens of a model."""

import os
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from layerscope.errors import UsageError
from layerscope.evaluation.exam import Exam, exam_of
from layerscope.evaluation.tasks import load_task
from layerscope.models.model import Model

__all__ = ["check_name", "load_exam", "versions"]


def check_name(name: str, include_path: str | os.PathLike[str] | None = None) -> None:
    """Refuse a task that does not exist, before a model is loaded for it.

    Raises
    ------
    UsageError
        When it does not.
    """
    if name.startswith("lm-eval:"):
        from layerscope.evaluation.lm_eval_names import find_definition

        find_definition(name.removeprefix("lm-eval:"), None if include_path is None else Path(include_path))
    else:
        load_task(name, None, include_path)


def versions(names: Iterable[str]) -> dict[str, str]:
    """Return the version of lm-eval if any of some tasks is of it: a fact for the provenance."""
    return {"lm_eval": version("lm-eval")} if any(name.startswith("lm-eval:") for name in names) else {}


def load_exam(
    name: str, model: Model, limit: int | None = None, include_path: str | os.PathLike[str] | None = None
) -> Exam:
    """Load a task and put it into the tokens of a model.

    Raises
    ------
    UsageError
        An unknown task.
    TextsError
        Its data cannot be had.
    """
    if name.startswith("lm-eval:"):
        return _lm_eval_exam(name.removeprefix("lm-eval:"), model, limit, include_path)
    return exam_of(load_task(name, limit, include_path), model)


def _lm_eval_exam(name: str, model: Model, limit: int | None, include_path: str | os.PathLike[str] | None) -> Exam:
    # lm-eval takes seconds to import and may not be there: names are checked first, and it is reached for only on use.
    from layerscope.evaluation.lm_eval_names import find_definition
    from layerscope.evaluation.lm_eval_quiet import silent

    if limit is not None and limit < 1:
        raise UsageError(f"limit {limit}: must be 1 or more; leave it out to take every example")
    folder = None if include_path is None else Path(include_path)
    find_definition(name, folder)
    with silent():
        from layerscope.evaluation.lm_eval_exam import lm_eval_exam
    return lm_eval_exam(name, model, limit, folder)
