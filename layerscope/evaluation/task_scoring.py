"""A task's batch run under many schedules, its scores checked: the one road of `evaluate` and `sweep` to the model.

Knows tasks and scores; knows no file.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from layerscope.evaluation.continuation_scores import ContinuationScores
from layerscope.evaluation.prompt_batches import PromptBatch, build_batch, plan
from layerscope.evaluation.scoring import PromptScores, Visit, score_batch
from layerscope.evaluation.tokenized_task import TokenizedTask
from layerscope.models.logits import refuse_not_finite
from layerscope.models.model import Model
from layerscope.progress import progress
from layerscope.schedules.schedule import Schedule
from layerscope.schedules.tree import Node, prefix_tree

__all__ = ["score_task", "score_task_batch"]


def score_task(
    model: Model, exam: TokenizedTask, schedules: Sequence[Schedule], batch_tokens: int = 2048
) -> list[ContinuationScores]:
    """Let a model answer an exam under each of some schedules, their common beginnings run once."""
    given = [ContinuationScores.empty(exam.prompts) for _ in schedules]
    root, dependence = prefix_tree(schedules), model.length_dependence
    with progress("evaluating", total=len(exam.prompts), unit="prompts") as advance:
        for batch in plan(exam.prompts, batch_tokens, dependence):

            def finished(run: int, scores: PromptScores, seconds: float, batch: tuple[int, ...] = batch) -> None:
                given[run].take(batch, scores.log_likelihood, scores.greedy)

            layout = build_batch(exam.prompts, exam.gold, batch, model.pad_id, dependence)
            score_task_batch(model, exam, layout, root, dict(enumerate(schedules)), finished)
            advance(len(batch))
    return given


def score_task_batch(
    model: Model,
    exam: TokenizedTask,
    layout: PromptBatch,
    root: Node,
    schedules: Mapping[int, Schedule],
    finished: Callable[[int, PromptScores, float], None],
    visit: Visit = lambda node, stream: None,
) -> None:
    """Score one batch of a task under all schedules of a prefix tree.

    Parameters
    ----------
    model, layout, root, finished, visit
        As `layerscope.evaluation.scoring.score_batch` takes them.
    exam
        The task.
    schedules
        The schedules of the tree by their numbers.

    Raises
    ------
    CaptureError
        A log-likelihood that is not finite. That is so where a logit is NaN or +Inf, where all are -Inf, and where the token
        to be scored has a logit of -Inf.
    """

    def checked(run: int, scores: PromptScores, seconds: float) -> None:
        _refuse_not_finite(model, exam, layout.prompts, scores, schedules[run])
        finished(run, scores, seconds)

    score_batch(model, layout, root, checked, visit)


def _refuse_not_finite(
    model: Model, exam: TokenizedTask, batch: tuple[int, ...], scores: PromptScores, schedule: Schedule
) -> None:
    counts = np.array([len(exam.prompts[prompt].continuations) for prompt in batch])
    wanted = np.arange(scores.log_likelihood.shape[1]) < counts[:, None]
    bad = np.argwhere(wanted & ~np.isfinite(scores.log_likelihood))
    if len(bad):
        where = f"{exam.name} example {exam.example_of(batch[bad[0][0]])}"
        refuse_not_finite(model, where, "the log-likelihood", schedule)
