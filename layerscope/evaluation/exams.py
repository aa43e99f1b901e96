"""Tasks by name, put into the tokens of a model."""

import os
from pathlib import Path

from layerscope.errors import UsageError
from layerscope.evaluation.exam import Exam, exam_of
from layerscope.evaluation.tasks import load_task
from layerscope.models.model import Model

__all__ = ["load_exam"]


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
