"""Sweeps: many schedules of one model over some tasks, on their prefix tree, written down as they finish."""

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray

from layerscope.arguments import checked
from layerscope.errors import MOST_DRAWS, FileError, LayerScopeError, UsageError, at_least
from layerscope.evaluation.journal import Journal, discard, discard_finished, first_difference, journal_path
from layerscope.evaluation.latency import seconds_per_token
from layerscope.evaluation.load_task import check_names, load_task, versions
from layerscope.evaluation.sweep_dataset import build_sweep_dataset
from layerscope.evaluation.sweep_plan import plan_runs
from layerscope.evaluation.sweep_runner import SweepRunner
from layerscope.evaluation.tasks.builtin import TASKS
from layerscope.evaluation.tokenized_task import TokenizedTask
from layerscope.models.identity import identify
from layerscope.models.loading import load_model
from layerscope.models.logits import require_vocabulary_head
from layerscope.models.model import Model
from layerscope.outputs import new_file, writable
from layerscope.provenance import moving_weights, nested, provenance
from layerscope.results import read_sweep, write_result
from layerscope.schedules.schedule import Schedule
from layerscope.schedules.spec import Spec
from layerscope.store.write_lock import WriteLock
from layerscope.version import __version__

__all__ = ["sweep"]


@checked
def sweep(
    model: Model | str | os.PathLike[str],
    task: str | Sequence[str] = "builtin:cloze",
    *,
    variants: str | Sequence[str] | None = None,
    schedule: str | Spec | Schedule | Sequence[str | Spec | Schedule] = (),
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
    latency_tokens: int = 64,
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
        Default: all, or none where a `schedule` is given.
    schedule
        One more schedule or several, as SPEC.
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
        Also time the full model, skip, parallel and looped parallel alone: ``seconds_per_token(run)``, elsewhere NaN. A parallel
        stage is timed block after block and as one batched call; the faster counts, and ``stacked(run)`` says which it was.
    latency_tokens
        How many tokens are then read at once: 1 is what writing token by token comes to.
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
    ModelError
        A model without a vocabulary head.
    ScheduleError
        A start or schedule that a model of this depth has not.
    LayerScopeError
        `resume` with other settings than the sweep was begun with; states that are not finite.

    Notes
    -----
    Variants and figures: arXiv 2407.09298. `drift_cosine` is 1 - cos and `drift_norm` |h' - h| / |h| between a run's last
    state and the full model's, position 0 left out; the stages are held against the states that
    `layerscope.schedules.reference_states.reference_states` names.
    """
    at_least(1, batch_tokens=batch_tokens, seeds=seeds, latency_tokens=latency_tokens)
    at_least(0, most=MOST_DRAWS, bootstrap=bootstrap)
    at_least(0, seed=seed)
    tasks = [task] if isinstance(task, str) else list(dict.fromkeys(task))
    check_names(tasks, include_path)
    for name in chance or {}:
        if name not in tasks:
            raise UsageError(f"chance of {name}: it is no task of this sweep, which are {', '.join(tasks)}")
    target = None if output is None else _target(Path(output), model, resume, overwrite)
    planned = partial(plan_runs, variants=variants, schedule=schedule, starts=starts, seeds=seeds, loops=loops)
    timed = latency_tokens if latency else 0
    statistics = {"bootstrap": bootstrap, "seed": seed, "chance": dict(chance or {}), "latency_tokens": timed}
    if target is not None and target.exists() and resume and not isinstance(model, Model):
        known = {"dtype": dtype, "tasks": tasks, "limit": limit, "batch_tokens": batch_tokens, **statistics}
        complete = _done_before(target, model, known, planned)
        if complete is not None:
            _clear(target)
            return complete
    model = model if isinstance(model, Model) else load_model(model, dtype=dtype, device=device)
    require_vocabulary_head(model)
    runs = planned(model.depth)
    exams = [load_task(name, model, limit, include_path) for name in tasks]
    settings = _settings(model, exams, runs, limit, batch_tokens) | statistics
    if target is not None and target.exists() and resume:
        done, before = _finished(target)
        _refuse_other(target, before, settings)
        _clear(target)
        return done
    with _journal(target, settings, resume) as journal:
        SweepRunner(model, [run.schedule(model.depth) for run in runs], exams, journal, batch_tokens).run()
        facts = {
            "settings": json.dumps(settings),
            "provenance": provenance(weights=settings["weights"], **statistics, **versions(tasks)),
        }
        result = build_sweep_dataset(
            model, runs, exams, journal, facts, bootstrap=bootstrap, seed=seed, chance=chance or {}
        )
        if timed:
            result = result.assign(_timed(model, runs, timed))
        if target is not None:
            write_result(result, target)
        journal.remove()
    return result


_TIMED = ("identity", "skip", "parallel", "looped_parallel")
_STACKED = {
    "long_name": "1 where one batched call a stage was the faster way, 0 where block after block; -1 not measured"
}


def _timed(model: Model, runs: Sequence[Spec], tokens: int) -> dict[str, Any]:
    """Time some runs, a parallel stage in whichever way is faster."""
    chosen = [number for number, run in enumerate(runs) if run.variant in _TIMED]
    seconds, stacked = np.full(len(runs), np.nan), np.full(len(runs), -1)
    ways = seconds_per_token(model, [runs[number].schedule(model.depth) for number in chosen], tokens=tokens)
    seconds[chosen], stacked[chosen] = np.nanmin(ways, axis=1), np.nanargmin(ways, axis=1)
    long_name = f"wall time a token of one sequence of {tokens} alone, vocabulary head left out"
    said = {"long_name": long_name, "units": "s", "tokens": tokens}
    return {"seconds_per_token": ("run", seconds, said), "stacked": ("run", stacked, _STACKED)}


def _target(path: Path, model: object, resume: bool, overwrite: bool) -> Path:
    if resume and overwrite:
        raise UsageError("--resume continues a sweep and --overwrite starts it again: give one of them")
    if resume:
        return writable(path, model)
    new_file(path, overwrite, model)
    if journal_path(path).exists() and not overwrite:
        raise UsageError(
            f"{path}: a sweep into it was interrupted: give --resume to continue it, or --overwrite to start again"
        )
    return path


def _done_before(
    target: Path, model: str | os.PathLike[str], known: dict[str, Any], planned: Callable[[int], list[Spec]]
) -> xarray.Dataset | None:
    """Find that a file is complete, and the one asked for, before the model is loaded; None leaves it to what comes after.

    The same weights come with the same tokenizer and depth, and the same version with the same built-in examples. Data of
    other tasks may have changed: those are read again.
    """
    done, before = _finished(target)
    if done.attrs.get("layerscope_version") != __version__ or not set(before.get("tasks", "?")) <= set(TASKS):
        return None
    who = identify(model)
    # The weights last: to tell them, all of their files are read.
    if before != before | known | {"model": who.name} or before.get("weights") != who.fingerprint():
        return None
    runs = [str(run) for run in planned(int(done.attrs.get("num_blocks", 0)))]
    return done if runs == before.get("runs") else None


def _finished(target: Path) -> tuple[xarray.Dataset, dict[str, Any]]:
    """Read a finished sweep and the settings that it was made with."""
    done = read_sweep(target)
    settings = nested(str(done.attrs.get("settings", "")))
    if not isinstance(settings, dict):
        raise FileError(f"{target} does not say what settings it was made with\nstart again with --overwrite")
    return done, settings


def _clear(target: Path) -> None:
    """Remove what a killed sweep left next to its finished file."""
    discard_finished(journal_path(target))
    WriteLock(target, "sweep").clear()


@contextmanager
def _journal(target: Path | None, settings: Mapping[str, Any], resume: bool) -> Iterator[Journal]:
    with ExitStack() as held:
        if target is None:
            path = Path(held.enter_context(tempfile.TemporaryDirectory())) / "journal"
        else:
            path = journal_path(target)
            held.enter_context(WriteLock(target, "sweep"))  # before the journal is removed: it may be a running sweep's
            if not resume:
                discard(path)
        with Journal(path, settings) as journal:
            _refuse_other(target or path, journal.settings, settings)
            yield journal


def _refuse_other(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    difference = first_difference(before, now)
    if difference is None:
        return
    moving = moving_weights(before.get("weights"), now["weights"])
    if moving and first_difference(before, {**now, "weights": before["weights"]}) is None:
        raise LayerScopeError(f"{path}: {moving}")
    raise LayerScopeError(f"{path}: {difference}. Resume with the same settings, or start again with --overwrite.")


def _settings(
    model: Model, exams: list[TokenizedTask], runs: list[Spec], limit: int | None, batch_tokens: int
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
