"""Bootstrap draws of a sweep's examples: the same draw for every run of a task, so that what differs between runs is paired.

A number and its draws are one array, ``[1 + draw, …]``: the first along its first axis is the number itself, from every example
once. What is computed of it is computed of the draws with it. Knows sweeps; reads no file.
"""

import zlib

import numpy as np
import xarray as xr

from layerscope.evaluation.intervals import drawn, interval, scores

DRAWS = 1000


def weights(name: str, count: int) -> np.ndarray:
    """Return how much each of `count` examples weighs: ``[1 + draw, example]``, a draw of its own for each name."""
    return np.vstack([np.full(count, 1 / count), drawn(count, DRAWS, seed=zlib.crc32(name.encode()))])


def example_values(sweep: xr.Dataset, task: str) -> tuple[np.ndarray, np.ndarray]:
    """Return loss of each example, and whether it was right: ``[run, example]`` each."""
    one = sweep.sel(task=task).isel(example=slice(int(sweep.examples.sel(task=task))))
    loss, right = (one[name].transpose("run", "example").values for name in ("example_loss", "example_correct"))
    return loss, right


def task_scores(sweep: xr.Dataset, task: str) -> dict[str, np.ndarray]:
    """Return loss, normalized and the like of one task with their draws: ``[1 + draw, run]``.

    The normalized score is NaN in a draw in which the full model is no better than guessing.
    """
    loss, right = example_values(sweep, task)
    tokens = sweep.target_tokens.sel(task=task).values[: loss.shape[1]]
    example = {"loss": loss, "nats": loss * tokens, "accuracy": right, "accuracy_norm": right}
    return scores(example, weights(task, loss.shape[1]), float(sweep.chance.sel(task=task)))


def over_tasks(sweep: xr.Dataset, quantity: str, tasks: list[str]) -> np.ndarray:
    """Return the median over tasks of each run, with its draws: ``[1 + draw, run]``; NaN where it is known for none."""
    return known_median(np.stack([task_scores(sweep, task)[quantity] for task in tasks]))


def better_than_guessing(sweep: xr.Dataset) -> list[str]:
    """Return the tasks on which the full model is better than guessing, with its whole interval; all, if there are none."""
    full = sweep.isel(run=0)
    known = [str(task) for task in sweep.task.values[(full.accuracy_low > full.chance).values]]
    return known or [str(task) for task in sweep.task.values]


def runs_of(sweep: xr.Dataset, variant: str, least: float = 1, most: float = np.inf) -> np.ndarray:
    """Return which runs are of a variant that affects from `least` to `most` blocks, the fewest blocks first."""
    affected = sweep.affected.values
    some = np.flatnonzero((sweep.variant.values == variant) & (affected >= least) & (affected <= most))
    return some[np.argsort(affected[some], kind="stable")]


def known_median(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Return the median of what is known; NaN where nothing is."""
    return np.asarray(np.ma.median(np.ma.masked_invalid(values), axis=axis).filled(np.nan))


def known_mean(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Return the mean of what is known, likewise."""
    return np.asarray(np.ma.masked_invalid(values).mean(axis=axis).filled(np.nan))


def ends(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the 95 % interval of each number, from its draws."""
    return interval(np.asarray(values, dtype=np.float64)[1:])


def one_number(values: np.ndarray) -> tuple[float, float, float]:
    """Return a number and the ends of its interval: what `Findings.add` takes."""
    low, high = ends(np.asarray(values)[:, None])
    return float(values[0]), float(low[0]), float(high[0])
