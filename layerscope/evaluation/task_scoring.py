"""Score a task under many schedules: the one way in which `evaluate` and `sweep` run a model."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from layerscope.evaluation.continuation_scores import ContinuationScores
from layerscope.evaluation.prompt_batches import PromptBatch, build_batch, plan_prompt_batches
from layerscope.evaluation.scoring import PromptScores, Visit, score_batch
from layerscope.evaluation.tokenized_task import TokenizedTask
from layerscope.execution.cache_use import text_dependence
from layerscope.models.logits import refuse_not_finite
from layerscope.models.model import Model
from layerscope.progress import progress
from layerscope.schedules.schedule import Schedule
from layerscope.schedules.tree import Node, prefix_tree

__all__ = ["score_task", "score_task_batch"]


def score_task(
    model: Model, task: TokenizedTask, schedules: Sequence[Schedule], batch_tokens: int = 2048
) -> list[ContinuationScores]:
    """Return the scores of a task under each schedule; common beginnings of the schedules run once."""
    scores = [ContinuationScores.empty(task.prompts) for _ in schedules]
    root, dependence = prefix_tree(schedules), text_dependence(model)
    with progress("evaluating", total=len(task.prompts), unit="prompts") as advance:
        for prompts in plan_prompt_batches(task.prompts, batch_tokens, dependence):

            def finished(run: int, new: PromptScores, seconds: float, prompts: tuple[int, ...] = prompts) -> None:
                scores[run].fill(prompts, new.log_likelihood, new.greedy)

            batch = build_batch(task.prompts, task.gold, prompts, model.pad_id, dependence)
            score_task_batch(model, task, batch, root, dict(enumerate(schedules)), finished)
            advance(len(prompts))
    return scores


def score_task_batch(
    model: Model,
    task: TokenizedTask,
    batch: PromptBatch,
    root: Node,
    schedules: Mapping[int, Schedule],
    finished: Callable[[int, PromptScores, float], None],
    visit: Visit = lambda node, stream: None,
    fuse: int = 1,
) -> None:
    """Score one batch of a task under all schedules of a prefix tree.

    Parameters
    ----------
    model, batch, root, finished, visit, fuse
        As in `layerscope.evaluation.scoring.score_batch`.
    task
        Task of the batch.
    schedules
        Schedules of the tree by number.

    Raises
    ------
    CaptureError
        A log-likelihood is not finite: a logit is NaN or +Inf, all logits are -Inf, or the logit of a scored token is -Inf.
    """

    def checked(run: int, scores: PromptScores, seconds: float) -> None:
        _check_finite(model, task, batch.prompts, scores, schedules[run])
        finished(run, scores, seconds)

    score_batch(model, batch, root, checked, visit, fuse)


def _check_finite(
    model: Model, task: TokenizedTask, prompts: tuple[int, ...], scores: PromptScores, schedule: Schedule
) -> None:
    counts = np.array([len(task.prompts[prompt].continuations) for prompt in prompts])
    scored = np.arange(scores.log_likelihood.shape[1]) < counts[:, None]
    bad = np.argwhere(scored & ~np.isfinite(scores.log_likelihood))
    if len(bad):
        where = f"{task.name} example {task.example_of(prompts[bad[0][0]])}"
        refuse_not_finite(model, where, "the log-likelihood", schedule)
