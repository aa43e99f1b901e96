"""Sweeps: score many schedules of one model on several tasks, over their prefix tree, with a journal to resume from."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import xarray

from layerscope.arguments import checked
from layerscope.evaluation.journal import Journal
from layerscope.evaluation.latency import latency_columns
from layerscope.evaluation.load_task import check_names, load_task, versions
from layerscope.evaluation.sweep_dataset import build_sweep_dataset
from layerscope.evaluation.sweep_options import SweepOptions
from layerscope.evaluation.sweep_plan import Schedules, SweepPlan
from layerscope.evaluation.sweep_resume import check_target, complete_sweep, finished_sweep, open_journal
from layerscope.evaluation.sweep_runner import SweepRunner
from layerscope.evaluation.tokenized_task import TokenizedTask
from layerscope.models.devices import DeviceMap
from layerscope.models.encoder_decoder import Stack
from layerscope.models.loading import ModelLike, as_model
from layerscope.models.logits import require_vocabulary_head
from layerscope.models.model import Model
from layerscope.provenance import provenance
from layerscope.results import write_result

__all__ = ["sweep"]


@checked
def sweep(
    model: ModelLike,
    task: str | Sequence[str] = "builtin:cloze",
    *,
    variants: str | Sequence[str] | None = None,
    schedule: Schedules = (),
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
    fuse: int = 1,
    dtype: str | None = None,
    device: str | None = None,
    device_map: DeviceMap | None = None,
    stack: Stack | None = None,
    seed: int = 0,
) -> xarray.Dataset:
    """Run a model under many schedules, score it on tasks, and measure the drift of each run from the full model.

    All schedules run together over their prefix tree, batch by batch: each common beginning runs once, and the vocabulary head
    runs only where a token is scored. A journal next to the output records finished work, so that an interrupted sweep can
    continue with `resume`.

    Parameters
    ----------
    model
        A decoder: what `layerscope.capture` takes.
    task
        One task or several: ``builtin:NAME`` or ``lm-eval:NAME``.
    variants
        ``all`` for the six range variants of the paper, or names separated by commas; ``drop`` and ``swap`` take every block.
        Default: all, or none when `schedule` is given.
    schedule
        One more schedule or several, as SPEC.
    starts, seeds, loops
        Starts N (``all`` legal ones, or ``8,12``), number of shuffles of ``random``, loops of ``looped_parallel`` (``1-28``).
    limit
        Maximum number of examples of each task.
    include_path
        Folder of task definitions for lm-eval.
    output
        Path of the sweep file; None writes no file.
    resume, overwrite
        Continue an interrupted sweep; replace an existing one.
    bootstrap
        Number of replicates over examples for 95 % intervals; 0 for none.
    latency
        Also time the full model, skip, parallel and looped parallel alone: ``seconds_per_token(run)``, NaN for other runs. A
        parallel stage is timed block after block and as one batched call. The faster way counts; ``stacked(run)`` names it.
    latency_tokens
        Number of tokens in the timed sequence; 1 corresponds to generating token by token.
    chance
        Accuracy of guessing by task, where it cannot be computed from the data.
    batch_tokens
        Maximum number of tokens in a batch, padding included.
    fuse
        Number of schedules whose next stages, where they are the same, run as one batch. A small batch then fills an accelerator
        better; losses differ in rounding, and the memory of a batch grows by this factor.
    dtype, device, device_map, stack
        How to load a model that is given by name; see `layerscope.load_model`.
    seed
        Random seed of the bootstrap.

    Returns
    -------
    xarray.Dataset
        See "Sweep file" in the conventions. Run 0 is the full model.

    Raises
    ------
    UsageError
        A task or variant is unknown, or the output exists.
    ModelError
        The model is an encoder or has no vocabulary head.
    ScheduleError
        A start or schedule is not valid for a model of this depth.
    LayerScopeError
        The sweep to resume has other settings, or states are not finite.

    Notes
    -----
    Variants and figures: arXiv 2407.09298. `drift_cosine` is 1 - cos and `drift_norm` |h' - h| / |h| between the last states of a
    run and of the full model, without position 0. After each stage, drift is relative to the state that
    `layerscope.schedules.reference_states.reference_states` returns.
    """
    options = SweepOptions.from_arguments(locals())
    check_names(options.tasks, include_path)
    options.check_chance()
    path = None if output is None else check_target(Path(output), model, resume, overwrite)
    finished = path is not None and resume and path.exists()
    if (
        path
        and finished
        and isinstance(model, str | os.PathLike)
        and (found := complete_sweep(path, model, options)) is not None
    ):
        return found
    model = as_model(model, dtype=dtype, device=device, device_map=device_map, stack=stack)
    model.require_tokenizer()
    require_vocabulary_head(model)
    plan = options.plan(model.depth)
    tasks = [load_task(name, model, limit, include_path) for name in options.tasks]
    settings = options.settings(
        model=model.name,
        weights=model.fingerprint(),
        dtype=str(model.dtype).removeprefix("torch."),
        examples=[one.digest for one in tasks],
        runs=plan.names,
    )
    if path and finished:
        return finished_sweep(path, settings)
    with open_journal(path, settings, resume) as journal:
        SweepRunner(model, plan, tasks, journal, batch_tokens=batch_tokens, fuse=fuse).run()
        result = _build_result(model, plan, tasks, journal, options).assign_attrs(
            settings=json.dumps(settings),
            provenance=provenance(weights=settings["weights"], **options.statistics, **versions(options.tasks)),
        )
        if path is not None:
            write_result(result, path)
        journal.remove()
    return result


def _build_result(
    model: Model, plan: SweepPlan, tasks: Sequence[TokenizedTask], journal: Journal, options: SweepOptions
) -> xarray.Dataset:
    result = build_sweep_dataset(
        model, plan, tasks, journal, bootstrap=options.bootstrap, seed=options.seed, chance=options.chance or {}
    )
    return result.assign(latency_columns(model, plan, options.timed_tokens)) if options.latency else result
