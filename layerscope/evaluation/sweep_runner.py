"""The work of a sweep: every run of every batch of every task, into the journal.

Knows models, exams and the journal; knows no options and no file.
"""

import time
from collections.abc import Callable, Sequence

import numpy as np

from layerscope.evaluation.drift import DriftMeter, Moments, RunDrift
from layerscope.evaluation.generation_task import GenerationTask
from layerscope.evaluation.journal import Journal
from layerscope.evaluation.prompt_batches import build_batch, plan
from layerscope.evaluation.scoring import PromptScores
from layerscope.evaluation.task_scoring import score_task_batch
from layerscope.evaluation.tokenized_task import TokenizedTask
from layerscope.models.model import Model
from layerscope.progress import progress
from layerscope.schedules.schedule import Schedule
from layerscope.schedules.tree import new_block_calls, prefix_tree, pruned

__all__ = ["SweepRunner"]


class SweepRunner:
    """What is left to do of a sweep, and how it is done.

    Parameters
    ----------
    model, schedules, exams
        What is swept; the first schedule is the full model.
    journal
        Says what is finished, and takes what is.
    batch_tokens
        Tokens of a batch, padding included.
    """

    def __init__(
        self,
        model: Model,
        schedules: Sequence[Schedule],
        exams: Sequence[TokenizedTask],
        journal: Journal,
        batch_tokens: int,
    ) -> None:
        self.schedules = list(schedules)
        self._model, self._exams, self._journal = model, exams, journal
        self._root = prefix_tree(self.schedules)
        self._new_calls = new_block_calls(self.schedules)
        self._calls_alone = [schedule.block_calls for schedule in self.schedules]
        self._batches = [list(plan(exam.prompts, batch_tokens, model.length_dependence)) for exam in exams]

    def run(self) -> None:
        """Do it.

        Raises
        ------
        CaptureError
            A score that is not finite.
        """
        answers = sum(len(exam.items) for exam in self._exams if isinstance(exam, GenerationTask))
        total = sum(map(len, self._batches)) * sum(self._new_calls) + answers * sum(self._calls_alone)
        with progress("sweeping", total=total, unit="block calls") as advance:
            for task, (exam, batches) in enumerate(zip(self._exams, self._batches, strict=True)):
                if isinstance(exam, GenerationTask):
                    self._written(task, exam, advance)
                for number, batch in enumerate(batches):
                    self._batch(task, exam, number, batch, advance)

    def _written(self, task: int, exam: GenerationTask, advance: Callable[[int], None]) -> None:
        # Generation has no prefix tree: each schedule writes by itself. One run is one entry of the journal.
        done = self._journal.finished(task, 0)
        advance(sum(self._calls_alone[run] for run in done) * len(exam.items))
        for run in sorted(set(range(len(self.schedules))) - done):
            clock = time.perf_counter()

            def written(answers: int, calls: int = self._calls_alone[run]) -> None:
                advance(answers * calls)

            grades = exam.run(self._model, self.schedules[run], written)
            seconds = np.array(time.perf_counter() - clock)
            self._journal.add(task, 0, run, {"accuracy": grades.accuracy, "seconds": seconds}, {})

    def _batch(
        self, task: int, exam: TokenizedTask, number: int, batch: tuple[int, ...], advance: Callable[[int], None]
    ) -> None:
        done = self._journal.finished(task, number)
        advance(sum(self._new_calls[run] for run in done))
        pending = set(range(len(self.schedules))) - done
        if not pending:
            return
        # The full model is run again if it has to be: everything is held against its states.
        root = pruned(self._root, pending | {0})
        layout = build_batch(exam.prompts, exam.gold, batch, self._model.pad_id, self._model.length_dependence)
        schedules = {run: self.schedules[run] for run in sorted(pending | {0})}
        meter = DriftMeter(layout, root, schedules, self._model.depth)
        held: list[tuple[int, PromptScores, float]] = []  # a run that ends within the full model waits for that to end

        def finished(run: int, scores: PromptScores, seconds: float) -> None:
            if run in pending:
                held.append((run, scores, seconds))
            while held and meter.ready:
                run, scores, seconds = held.pop()
                sums = {node.number: _sums(moments) for node, moments in meter.moments.items()}
                self._journal.add(task, number, run, _arrays(batch, scores, meter.finished(run), seconds), sums)
                meter.moments.clear()
                advance(self._new_calls[run])

        score_task_batch(self._model, exam, layout, root, schedules, finished, meter.visit)


def _arrays(batch: tuple[int, ...], scores: PromptScores, drift: RunDrift, seconds: float) -> dict[str, np.ndarray]:
    return {
        "prompts": np.array(batch),
        "log_likelihood": scores.log_likelihood,
        "greedy": scores.greedy,
        "drift_cosine": drift.cosine,
        "drift_norm": drift.norm,
        "drift_cosine_stage": drift.cosine_stage,
        "drift_norm_stage": drift.norm_stage,
        "criterion": drift.criterion,
        "seconds": np.array(seconds),
    }


def _sums(moments: Moments) -> dict[str, np.ndarray]:
    return {
        "tokens": np.array(moments.tokens),
        "squares": np.array(moments.squares),
        "total": moments.total,
    }
