"""Sweeps: many schedules of one model over some tasks, on their prefix tree, written down as they finish."""

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray

from layerscope.errors import CaptureError, LayerScopeError, UsageError, at_least
from layerscope.evaluation.drift import DriftMeter, Moments, RunDrift
from layerscope.evaluation.exam import Exam
from layerscope.evaluation.exams import check_name, load_exam, versions
from layerscope.evaluation.journal import Journal, discard, first_difference
from layerscope.evaluation.latency import seconds_per_token
from layerscope.evaluation.layout import lay_out, plan
from layerscope.evaluation.runs import plan_runs
from layerscope.evaluation.scoring import PromptScores, score_batch
from layerscope.evaluation.sweep_file import read_sweep, write_sweep
from layerscope.evaluation.table import sweep_table
from layerscope.evaluation.written import WrittenExam
from layerscope.models.loading import load_model
from layerscope.models.model import Model
from layerscope.progress import progress
from layerscope.provenance import provenance
from layerscope.schedules.schedule import Schedule
from layerscope.schedules.spec import Spec
from layerscope.schedules.tree import new_block_calls, prefix_tree, pruned

__all__ = ["sweep"]


def sweep(
    model: Model | str | os.PathLike[str],
    task: str | Sequence[str] = "builtin:cloze",
    *,
    variants: str | Sequence[str] | None = None,
    schedules: Sequence[str | Spec] = (),
    starts: str | Iterable[int] = "all",
    seeds: int = 10,
    loops: str | int | Iterable[int] = 3,
    limit: int | None = None,
    include_path: str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    bootstrap: int = 1000,
    latency: bool = False,
    chance: Mapping[str, float] | None = None,
    batch_tokens: int = 2048,
    dtype: str = "float32",
    device: str = "cpu",
    seed: int = 0,
) -> xarray.Dataset:
    """Run a model under many schedules, score it on tasks, and measure how far each run drifts from the full model.

    All schedules are run together over the tree of their common beginnings, batch by batch: each distinct beginning is run
    once, and the vocabulary head only where a token is scored. What is finished is kept in a journal beside the output, so
    that a sweep which was interrupted at any moment goes on with `resume`.

    Parameters
    ----------
    model
        A decoder, or what `layerscope.load_model` takes.
    task
        One task or several: ``builtin:NAME`` or ``lm-eval:NAME``.
    variants
        ``all`` for the six range variants of the paper, or names with commas between; ``drop`` and ``swap`` mean every block.
        Default: all, or none where `schedules` are given.
    schedules
        More schedules, as SPEC.
    starts, seeds, loops
        Starts N (``all`` legal ones, or ``8,12``), number of shuffles of ``random``, loops of ``looped_parallel`` (``1-28``).
    limit
        Take the first so many examples of each task.
    include_path
        A folder of task definitions for lm-eval.
    output
        The sweep file; None keeps nothing but the result.
    resume, overwrite
        Go on with an interrupted sweep; replace an existing one.
    bootstrap
        Replicates over examples, for 95 % intervals; 0 for none.
    latency
        Also time the full model, skip, parallel and looped parallel alone: ``seconds_per_token(run)``, elsewhere NaN.
    chance
        Scores of guessing by task, where they are not to be computed from the data.
    batch_tokens
        Tokens of a batch, padding included.
    dtype, device
        How to load a model that is given by name.
    seed
        Of the bootstrap.

    Returns
    -------
    xarray.Dataset
        See "Sweep file" in the conventions. Run 0 is the full model.

    Raises
    ------
    UsageError
        An unknown task or variant, an output that exists.
    ScheduleError
        A start or schedule that a model of this depth has not.
    LayerScopeError
        `resume` with other settings than the sweep was begun with; states that are not finite.

    Notes
    -----
    Variants and figures: arXiv 2407.09298. `drift_cosine` is 1 - cos and `drift_norm` |h' - h| / |h| between a run's last
    state and the full model's, position 0 left out; the stages are held against the states that
    `layerscope.schedules.alignment.reference_states` names.
    """
    at_least(1, batch_tokens=batch_tokens, seeds=seeds)
    at_least(0, bootstrap=bootstrap)
    tasks = [task] if isinstance(task, str) else list(task)
    for name in tasks:
        check_name(name, include_path)
    target = None if output is None else _target(Path(output), resume, overwrite)
    model = model if isinstance(model, Model) else load_model(model, dtype=dtype, device=device)
    if not model.architecture.causal:
        raise UsageError(f"{model.name} is an encoder: tasks are scored by a decoder's next tokens")
    runs = plan_runs(model.depth, variants=variants, schedules=schedules, starts=starts, seeds=seeds, loops=loops)
    exams = [load_exam(name, model, limit, include_path) for name in tasks]
    settings = _settings(model, exams, runs, limit, batch_tokens)
    statistics = {"bootstrap": bootstrap, "seed": seed, "chance": dict(chance or {})}
    if target is not None and target.exists() and resume:
        done = read_sweep(target)
        _refuse_other(target, json.loads(done.attrs["settings"]), settings)
        return done
    with _journal(target, settings, resume) as journal:
        _Sweep(model, runs, exams, journal, batch_tokens).run()
        facts = {
            "settings": json.dumps(settings),
            "provenance": provenance(weights=model.fingerprint(), **statistics, **versions(tasks)),
        }
        result = sweep_table(model, runs, exams, journal, facts, bootstrap=bootstrap, seed=seed, chance=chance or {})
        if latency:
            result = result.assign(seconds_per_token=("run", _timed(model, runs), _TIMED_ATTRS))
        if target is not None:
            write_sweep(result, target)
        journal.remove()
    return result


_TIMED = ("identity", "skip", "parallel", "looped_parallel")
_TIMED_ATTRS = {"long_name": "wall time a token of one sequence of 64 alone, vocabulary head left out", "units": "s"}


def _timed(model: Model, runs: Sequence[Spec]) -> np.ndarray:
    chosen = [number for number, run in enumerate(runs) if run.variant in _TIMED]
    seconds = np.full(len(runs), np.nan)
    seconds[chosen] = seconds_per_token(model, [runs[number].schedule(model.depth) for number in chosen])
    return seconds


def _target(path: Path, resume: bool, overwrite: bool) -> Path:
    if resume and overwrite:
        raise UsageError("--resume goes on with a sweep and --overwrite begins it anew: give one of them")
    if path.is_dir():
        raise UsageError(f"{path} is a directory: give a file name to --output")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}: make it, or give another --output")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"{path}: the folder {path.parent} cannot be written: give another --output")
    if not (resume or overwrite):
        if path.exists():
            raise UsageError(f"{path} exists already: give --overwrite to replace it, or another --output")
        if _journal_path(path).exists():
            raise UsageError(
                f"{path}: a sweep into it was interrupted: give --resume to go on, or --overwrite to begin anew"
            )
    return path


def _journal_path(target: Path) -> Path:
    return target.with_name(target.name + ".journal")


@contextmanager
def _journal(target: Path | None, settings: Mapping[str, Any], resume: bool) -> Iterator[Journal]:
    with ExitStack() as held:
        if target is None:
            path = Path(held.enter_context(tempfile.TemporaryDirectory())) / "journal"
        else:
            path = _journal_path(target)
            if not resume:
                discard(path)
        with Journal(path, settings) as journal:
            _refuse_other(target or path, journal.settings, settings)
            yield journal


def _refuse_other(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    if difference := first_difference(before, now):
        raise LayerScopeError(f"{path}: {difference}. Resume with the same settings, or begin anew with --overwrite.")


def _settings(
    model: Model, exams: list[Exam], runs: list[Spec], limit: int | None, batch_tokens: int
) -> dict[str, Any]:
    return {
        "model": model.name,
        "weights": model.fingerprint(),
        "dtype": str(model.dtype).removeprefix("torch."),
        "tasks": [exam.name for exam in exams],
        "limit": limit,
        "examples": [exam.digest for exam in exams],
        "runs": [str(run) for run in runs],
        "batch_tokens": batch_tokens,
    }


class _Sweep:
    """The work of a sweep: every run of every batch of every task, into the journal."""

    def __init__(self, model: Model, runs: list[Spec], exams: list[Exam], journal: Journal, batch_tokens: int) -> None:
        self.schedules: list[Schedule] = [run.schedule(model.depth) for run in runs]
        self._model, self._exams, self._journal = model, exams, journal
        self._root = prefix_tree(self.schedules)
        self._new_calls = new_block_calls(self.schedules)
        self._calls_alone = [schedule.block_calls for schedule in self.schedules]
        self._batches = [list(plan(exam.prompts, batch_tokens)) for exam in exams]

    def run(self) -> None:
        answers = sum(len(exam.questions) for exam in self._exams if isinstance(exam, WrittenExam))
        total = sum(map(len, self._batches)) * sum(self._new_calls) + answers * sum(self._calls_alone)
        with progress("sweeping", total=total, unit="block calls") as advance:
            for task, (exam, batches) in enumerate(zip(self._exams, self._batches, strict=True)):
                if isinstance(exam, WrittenExam):
                    self._written(task, exam, advance)
                for number, batch in enumerate(batches):
                    self._batch(task, exam, number, batch, advance)

    def _written(self, task: int, exam: WrittenExam, advance: Callable[[int], None]) -> None:
        # Generation has no prefix tree: each schedule writes by itself. One run is one entry of the journal.
        done = self._journal.finished(task, 0)
        advance(sum(self._calls_alone[run] for run in done) * len(exam.questions))
        for run in sorted(set(range(len(self.schedules))) - done):
            clock = time.perf_counter()

            def written(answers: int, calls: int = self._calls_alone[run]) -> None:
                advance(answers * calls)

            grades = exam.sit(self._model, self.schedules[run], written)
            seconds = np.array(time.perf_counter() - clock)
            self._journal.add(task, 0, run, {"accuracy": grades.accuracy, "seconds": seconds}, {})

    def _batch(
        self, task: int, exam: Exam, number: int, batch: tuple[int, ...], advance: Callable[[int], None]
    ) -> None:
        done = self._journal.finished(task, number)
        advance(sum(self._new_calls[run] for run in done))
        pending = set(range(len(self.schedules))) - done
        if not pending:
            return
        # The full model is run again if it has to be: everything is held against its states.
        root = pruned(self._root, pending | {0})
        layout = lay_out(exam.prompts, exam.gold, batch, self._model.pad_id)
        schedules = {run: self.schedules[run] for run in sorted(pending | {0})}
        meter = DriftMeter(layout, root, schedules, self._model.depth)
        held: list[tuple[int, PromptScores, float]] = []  # a run that ends within the full model waits for that to end

        def finished(run: int, scores: PromptScores, seconds: float) -> None:
            if run in pending:
                _refuse_not_finite(exam, batch, scores, schedules[run])
                held.append((run, scores, seconds))
            while held and meter.ready:
                run, scores, seconds = held.pop()
                sums = {node.number: _sums(moments) for node, moments in meter.moments.items()}
                self._journal.add(task, number, run, _arrays(batch, scores, meter.finished(run), seconds), sums)
                meter.moments.clear()
                advance(self._new_calls[run])

        score_batch(self._model, layout, root, finished, meter.visit)


def _refuse_not_finite(exam: Exam, batch: tuple[int, ...], scores: PromptScores, schedule: Schedule) -> None:
    counts = np.array([len(exam.prompts[prompt].continuations) for prompt in batch])
    wanted = np.arange(scores.log_likelihood.shape[1]) < counts[:, None]
    bad = np.argwhere(wanted & ~np.isfinite(scores.log_likelihood))
    if len(bad):
        raise CaptureError(
            f"{exam.name}: the loss of prompt {batch[bad[0][0]]} is not finite under the schedule {schedule}.\n"
            "The model overflows there: compute in float32 (--dtype float32)."
        )


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
