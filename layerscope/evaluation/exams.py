"""Tasks by name, put into the tokens of a model."""

import os

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
    return exam_of(load_task(name, limit, include_path), model)
