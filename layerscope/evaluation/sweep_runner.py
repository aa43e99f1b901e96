"""Run a sweep: every run of every batch of every task, recorded in the journal."""

import time
from collections.abc import Callable, Sequence

import numpy as np

from layerscope.errors import ModelError
from layerscope.evaluation.drift import DriftMeter, RunDrift, VarianceSums
from layerscope.evaluation.generation_task import GenerationTask
from layerscope.evaluation.journal import Journal
from layerscope.evaluation.prompt_batches import build_batch, plan_prompt_batches
from layerscope.evaluation.scoring import PromptScores
from layerscope.evaluation.sweep_plan import SweepPlan
from layerscope.evaluation.task_scoring import score_task_batch
from layerscope.evaluation.tokenized_task import TokenizedTask
from layerscope.execution.cache_use import text_dependence
from layerscope.models.model import Model
from layerscope.progress import progress
from layerscope.schedules.tree import pruned

__all__ = ["SweepRunner"]


class SweepRunner:
    """Runs the unfinished part of a sweep.

    Parameters
    ----------
    model, plan, tasks
        Model, runs and tasks of the sweep; run 0 is the full model.
    journal
        Record of finished runs; new results are added to it.
    batch_tokens
        Maximum number of tokens in a batch, padding included.
    fuse
        Number of schedules whose next stages may run as one batch.

    Raises
    ------
    ModelError
        Schedules cannot run as one batch, because the model's numbers depend on the other texts of a batch.
    """

    def __init__(
        self,
        model: Model,
        plan: SweepPlan,
        tasks: Sequence[TokenizedTask],
        journal: Journal,
        *,
        batch_tokens: int,
        fuse: int,
    ) -> None:
        self._model, self._plan, self._tasks, self._journal = model, plan, tasks, journal
        self._new_calls, self._calls_alone = plan.new_calls, plan.calls_alone
        self._dependence, self._fuse = text_dependence(model), fuse
        if fuse > 1 and self._dependence.alone:
            raise ModelError(
                f"{model.name}: --fuse {fuse}: its states depend on the other texts of a batch: leave --fuse out"
            )
        self._batches = [list(plan_prompt_batches(task.prompts, batch_tokens, self._dependence)) for task in tasks]

    def run(self) -> None:
        """Run every unfinished schedule and record it in the journal.

        Raises
        ------
        CaptureError
            A score is not finite.
        """
        answers = sum(len(task.items) for task in self._tasks if isinstance(task, GenerationTask))
        total = sum(map(len, self._batches)) * sum(self._new_calls) + answers * sum(self._calls_alone)
        with progress("sweeping", total=total, unit="block calls") as advance:
            for number, (task, batches) in enumerate(zip(self._tasks, self._batches, strict=True)):
                if isinstance(task, GenerationTask):
                    self._generate(number, task, advance)
                for batch_number, batch in enumerate(batches):
                    self._score_batch((number, batch_number), task, batch, advance)

    def _generate(self, number: int, task: GenerationTask, advance: Callable[[int], None]) -> None:
        # Generation has no prefix tree: each schedule generates alone. One run is one entry of the journal.
        done = self._journal.finished(number, 0)
        advance(sum(self._calls_alone[run] for run in done) * len(task.items))
        for run in sorted(set(range(len(self._plan.runs))) - done):
            clock = time.perf_counter()

            def generated(answers: int, calls: int = self._calls_alone[run]) -> None:
                advance(answers * calls)

            metrics = task.run(self._model, self._plan.schedules[run], generated)
            seconds = np.array(time.perf_counter() - clock)
            self._journal.add(number, 0, run, {"accuracy": metrics.accuracy, "seconds": seconds}, {})

    def _score_batch(
        self, key: tuple[int, int], task: TokenizedTask, prompts: tuple[int, ...], advance: Callable[[int], None]
    ) -> None:
        done = self._journal.finished(*key)
        advance(sum(self._new_calls[run] for run in done))
        pending = set(range(len(self._plan.runs))) - done
        if not pending:
            return
        # Drift is relative to the states of the full model, so the full model runs even if its scores are finished.
        root = pruned(self._plan.root, pending | {0})
        schedules = {run: self._plan.schedules[run] for run in sorted(pending | {0})}
        batch = build_batch(task.prompts, task.gold, prompts, self._model.pad_id, self._dependence)
        meter = DriftMeter(batch, root, schedules, self._model.depth)
        waiting: list[tuple[int, PromptScores, float]] = []  # runs that end before the full model does

        def finished(run: int, scores: PromptScores, seconds: float) -> None:
            if run in pending:
                waiting.append((run, scores, seconds))
            while waiting and meter.ready:
                run, scores, seconds = waiting.pop()
                sums = {node.number: _sums(its) for node, its in meter.sums.items()}
                self._journal.add(*key, run, _arrays(prompts, scores, meter.finished(run), seconds), sums)
                meter.sums.clear()
                advance(self._new_calls[run])

        score_task_batch(self._model, task, batch, root, schedules, finished, meter.visit, self._fuse)


def _arrays(batch: tuple[int, ...], scores: PromptScores, drift: RunDrift, seconds: float) -> dict[str, np.ndarray]:
    return {
        "prompts": np.array(batch),
        "log_likelihood": scores.log_likelihood,
        "greedy": scores.greedy,
        "drift_cosine": drift.cosine,
        "drift_norm": drift.norm,
        "drift_cosine_stage": drift.cosine_stage,
        "drift_norm_stage": drift.norm_stage,
        "criterion": drift.hsic,
        "seconds": np.array(seconds),
    }


def _sums(sums: VarianceSums) -> dict[str, np.ndarray]:
    return {
        "tokens": np.array(sums.tokens),
        "squares": np.array(sums.squares),
        "total": sums.total,
    }
