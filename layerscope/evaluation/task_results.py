"""The results of one task of a sweep, read from its journal and joined over batches."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from layerscope.evaluation.continuation_scores import ContinuationScores
from layerscope.evaluation.example_scores import ExampleScores, score_examples
from layerscope.evaluation.generation_task import GenerationTask
from layerscope.evaluation.journal import Journal
from layerscope.evaluation.sweep_plan import SweepPlan
from layerscope.evaluation.tokenized_task import TokenizedTask
from layerscope.schedules.tree import path_to

__all__ = ["TaskResults"]

_STAGE_DRIFTS = ("drift_cosine_stage", "drift_norm_stage")
_SCORES = ("loss", "nats", "accuracy", "accuracy_norm")


class TaskResults:
    """All runs of one task.

    Parameters
    ----------
    number
        Index of the task in the sweep.
    task, plan
        Task and runs.
    journal
        Finished journal of the sweep.

    Attributes
    ----------
    seconds
        Time of each run.
    example
        `ExampleScores` of all runs: arrays ``[run, example]``.
    stage
        Drift and variance after each stage: arrays ``[run, stage]``, NaN beyond the last stage of a run.
    """

    def __init__(self, number: int, task: TokenizedTask, plan: SweepPlan, journal: Journal) -> None:
        self.task, self._plan = task, plan
        runs = len(plan.runs)
        self.seconds = np.zeros(runs)
        self._drift = {name: np.full((runs, len(task.prompts)), np.nan) for name in ("drift_cosine", "drift_norm")}
        self.stage = {name: np.full((runs, plan.stages), np.nan) for name in (*_STAGE_DRIFTS, "variance_stage")}
        self._cka = np.full(runs, np.nan)
        scores: dict[str, list[np.ndarray]] = {name: [] for name in _SCORES}
        for run in range(runs):
            entries = [arrays for _, arrays in journal.results(number, run)]
            example = (
                self._read_generated(run, entries) if isinstance(task, GenerationTask) else self._read(run, entries)
            )
            for name in _SCORES:
                scores[name].append(getattr(example, name))
        self.example = {name: np.stack(values) for name, values in scores.items()}
        if isinstance(task, GenerationTask):
            return  # each schedule generates its own text, so no tokens are shared to measure drift on
        counted = np.isfinite(self._drift["drift_cosine"]).sum(1, keepdims=True)
        for name in _STAGE_DRIFTS:
            self.stage[name] = self.stage[name] / np.where(counted > 0, counted, np.nan)
        self._read_variances(journal.sums(number))

    @property
    def drift(self) -> dict[str, Float[np.ndarray, " run"]]:
        """Drift of each run at the last state."""
        return {name: _finite_mean(values) for name, values in self._drift.items()} | {"drift_cka": 1 - self._cka}

    def _read_generated(self, run: int, entries: Sequence[Mapping[str, np.ndarray]]) -> ExampleScores:
        (arrays,) = entries
        self.seconds[run] += float(arrays["seconds"])
        unknown = np.full(len(self.task.items), np.nan)
        return ExampleScores(unknown, unknown, arrays["accuracy"], unknown)

    def _read(self, run: int, entries: Sequence[Mapping[str, np.ndarray]]) -> ExampleScores:
        scores, hsic = ContinuationScores.empty(self.task.prompts), np.zeros(3)
        stages = len(self._plan.schedules[run])
        for name in _STAGE_DRIFTS:
            self.stage[name][run, :stages] = 0.0
        for arrays in entries:
            prompts = arrays["prompts"]
            scores.fill(prompts.tolist(), arrays["log_likelihood"], arrays["greedy"])
            self.seconds[run] += float(arrays["seconds"])
            for name, values in self._drift.items():
                values[run, prompts] = arrays[name]
            for name in _STAGE_DRIFTS:
                self.stage[name][run, :stages] += arrays[name]
            hsic += np.nan_to_num(arrays["criterion"])
        self._cka[run] = _cka(hsic)
        return score_examples(self.task, scores)

    def _read_variances(self, sums: dict[int, dict[str, np.ndarray]]) -> None:
        for run, schedule in enumerate(self._plan.schedules):
            for stage, node in enumerate(path_to(self._plan.root, schedule)):
                self.stage["variance_stage"][run, stage] = _variance(sums[node.number])


def _cka(hsic: Float[np.ndarray, "3"]) -> float:
    cross, own, own_full = hsic
    return float(cross / np.sqrt(own * own_full)) if own > 0 and own_full > 0 else float("nan")


def _variance(sums: dict[str, np.ndarray]) -> float:
    tokens = int(sums["tokens"])
    if not tokens:
        return float("nan")
    mean = sums["total"] / tokens
    return float((sums["squares"] / tokens - mean @ mean) / len(mean))


def _finite_mean(values: Float[np.ndarray, "run prompt"]) -> Float[np.ndarray, " run"]:
    finite = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(finite, values, 0.0).sum(1) / finite.sum(1))
