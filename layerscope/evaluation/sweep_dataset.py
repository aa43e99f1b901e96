"""The results of a sweep as a labeled Dataset: the sweep file of the conventions. Runs no model."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray

from layerscope.evaluation.bootstrap import rank_correlation
from layerscope.evaluation.journal import Journal
from layerscope.evaluation.sweep_plan import SweepPlan
from layerscope.evaluation.sweep_variables import DRIFTS, long_name
from layerscope.evaluation.task_results import TaskResults
from layerscope.evaluation.task_scores import mean_scores
from layerscope.evaluation.tokenized_task import TokenizedTask
from layerscope.measures.kernels.bootstrap import bootstrap_weights, percentiles, replicate_warning
from layerscope.models.model import Model
from layerscope.schedules.reference_states import reference_states
from layerscope.version import __version__

__all__ = ["build_sweep_dataset"]


def build_sweep_dataset(
    model: Model,
    plan: SweepPlan,
    tasks: Sequence[TokenizedTask],
    journal: Journal,
    *,
    bootstrap: int,
    seed: int,
    chance: Mapping[str, float],
) -> xarray.Dataset:
    """Read a finished journal into a Dataset.

    Parameters
    ----------
    model, plan, tasks
        Model, runs and tasks of the sweep.
    journal
        Finished journal.
    bootstrap, seed
        Number of replicates over examples (over runs for rank correlations), and their random seed.
    chance
        Accuracy of guessing by task, where it is given rather than computed.
    """
    levels = [chance.get(task.name, task.chance) for task in tasks]
    results = [TaskResults(number, task, plan, journal) for number, task in enumerate(tasks)]
    most = max(len(task.items) for task in tasks)
    parts = [
        _task_dataset(one, level, bootstrap, seed).pad(example=(0, most - len(one.task.items)))
        for one, level in zip(results, levels, strict=True)
    ]
    dataset = xarray.concat(parts, dim="task").assign_coords(plan.columns)
    dataset = dataset.assign_coords(task=[task.name for task in tasks]).assign(
        kind=("task", [task.kind for task in tasks]),
        chance=("task", levels),
        examples=("task", [len(task.items) for task in tasks]),
        example_id=(("task", "example"), [_padded([item.id for item in task.items], most) for task in tasks]),
        block_calls=("run", plan.new_calls),
        block_calls_alone=("run", plan.calls_alone),
        reference_state=(("run", "stage"), _reference_states(plan)),
        seconds=("run", np.sum([one.seconds for one in results], axis=0)),
    )
    for name, variable in dataset.variables.items():
        if description := long_name(str(name)):
            variable.attrs["long_name"] = description
        if f"{name}_low" in dataset:
            variable.attrs |= replicate_warning(bootstrap)
    dataset.attrs = {
        "layerscope_version": __version__,
        "model": model.name,
        "architecture": model.architecture.family,
        "num_blocks": model.depth,
        "bootstrap": bootstrap,
    }
    return dataset


def _padded(names: list[str], length: int) -> list[str]:
    return names + [""] * (length - len(names))


def _reference_states(plan: SweepPlan) -> np.ndarray:
    states = np.full((len(plan.runs), plan.stages), -1)
    for run, schedule in enumerate(plan.schedules):
        states[run, : len(schedule)] = reference_states(schedule, plan.depth)
    return states


def _task_dataset(results: TaskResults, chance: float, bootstrap: int, seed: int) -> xarray.Dataset:
    """Return the scores, drifts and intervals of one task."""
    examples, sizes = len(results.task.items), results.task.sizes
    scores = mean_scores(results.example, np.full((1, examples), 1 / examples), chance, *sizes)
    columns: dict[str, Any] = {name: ("run", values[0]) for name, values in scores.items()}
    if bootstrap:
        weights = bootstrap_weights(examples, bootstrap, seed) / examples
        for name, values in mean_scores(results.example, weights, chance, *sizes).items():
            low, high = percentiles(values)
            columns |= {f"{name}_low": ("run", low), f"{name}_high": ("run", high)}
    drift = results.drift
    columns |= {name: ("run", values) for name, values in drift.items()}
    columns |= {name: (("run", "stage"), values) for name, values in results.stage.items()}
    correlations = [rank_correlation(drift[name], columns["loss"][1], bootstrap, seed) for name in DRIFTS]
    ends = ("", "_low", "_high") if bootstrap else ("",)
    for end, values in zip(ends, np.array(correlations).T, strict=False):
        columns[f"rank_correlation{end}"] = ("drift", values)
    columns["example_loss"] = (("run", "example"), results.example["loss"])
    columns["example_correct"] = (("run", "example"), results.example["accuracy"])
    columns["target_tokens"] = ("example", results.task.target_tokens)
    columns["target_bytes"] = ("example", results.task.target_bytes)
    return xarray.Dataset(columns, coords={"drift": list(DRIFTS)})
