"""Exams whose answers a model writes: tasks of generated text.

Knows what such an exam is to the rest of the evaluation; how one is set and graded is the matter of whoever makes it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from layerscope.evaluation.continuation_scores import TaskMetrics
from layerscope.evaluation.tokenized_task import TokenizedTask, content_digest
from layerscope.models.model import Model
from layerscope.schedules.schedule import Schedule

__all__ = ["GenerationTask"]


@dataclass(frozen=True)
class GenerationTask(TokenizedTask, ABC):
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
        return content_digest(self.asked, self.items)

    @property
    def target_tokens(self) -> Float[np.ndarray, " example"]:
        """NaN: no answer is scored token by token."""
        return np.full(len(self.items), np.nan)

    @abstractmethod
    def run(
        self, model: Model, schedule: Schedule, written: Callable[[int], None] = lambda answers: None
    ) -> TaskMetrics:
        """Let a model write its answers under a schedule, and grade them; `written` is called with how many more are done."""
