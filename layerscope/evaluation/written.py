"""Exams whose answers a model writes: tasks of generated text.

Knows what such an exam is to the rest of the evaluation; how one is set and graded is the matter of whoever makes it.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from layerscope.evaluation.exam import Exam, Grades
from layerscope.models.model import Model
from layerscope.schedules.schedule import Schedule

__all__ = ["WrittenExam"]


@dataclass(frozen=True)
class WrittenExam(Exam, ABC):
    """An exam without prompts to be scored: the model runs under one schedule after another and writes.

    Attributes
    ----------
    asked
        What the model is asked, with the terms of its answer, for the digest.
    """

    asked: tuple[str, ...]

    @property
    def digest(self) -> str:
        """A hash of what is asked."""
        return hashlib.sha256(repr((self.asked, self.questions)).encode()).hexdigest()[:16]

    @property
    def target_tokens(self) -> Float[np.ndarray, " example"]:
        """NaN: no answer is scored token by token."""
        return np.full(len(self.questions), np.nan)

    @abstractmethod
    def sit(self, model: Model, schedule: Schedule, written: Callable[[int], None] = lambda answers: None) -> Grades:
        """Let a model write its answers under a schedule, and grade them; `written` is called with how many more are done."""
