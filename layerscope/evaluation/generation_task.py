"""Tasks whose answers the model generates."""

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
    """A task without prompts to score: the model generates its answers, under one schedule at a time.

    Attributes
    ----------
    requests
        Text and generation options of each request, for the digest.
    """

    requests: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Hash of the requests and items."""
        return content_digest(self.requests, self.items)

    @property
    def target_tokens(self) -> Float[np.ndarray, " example"]:
        """NaN: no answer is scored token by token."""
        return np.full(len(self.items), np.nan)

    @abstractmethod
    def run(
        self, model: Model, schedule: Schedule, generated: Callable[[int], None] = lambda answers: None
    ) -> TaskMetrics:
        """Generate the answers under a schedule and grade them; `generated` is called with the number of new answers."""
