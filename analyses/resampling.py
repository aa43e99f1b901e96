"""Bootstrap replicates of a sweep's scores, over its examples: the same draw for every run, so that what differs is paired.

Knows sweeps; reads no file.
"""

import numpy as np
import xarray as xr

from layerscope.evaluation.intervals import drawn, interval, scores

REPLICATES = 1000


def replicates(sweep: xr.Dataset, task: str) -> dict[str, np.ndarray]:
    """Return loss, normalized and the like of one task, ``[replicate, run]``."""
    one = sweep.sel(task=task).isel(example=slice(int(sweep.examples.sel(task=task))))
    loss, right = (one[name].transpose("run", "example").values for name in ("example_loss", "example_correct"))
    example = {"loss": loss, "nats": loss * one.target_tokens.values, "accuracy": right, "accuracy_norm": right}
    return scores(example, drawn(loss.shape[1], REPLICATES, seed=0), float(one.chance))


def better_than_guessing(sweep: xr.Dataset) -> list[str]:
    """Return the tasks on which the full model is better than guessing, with its whole interval; all, if there are none."""
    full = sweep.isel(run=0)
    known = [str(task) for task in sweep.task.values[(full.accuracy_low > full.chance).values]]
    return known or [str(task) for task in sweep.task.values]


def known_median(values: object, axis: int = 0) -> np.ndarray:
    """Return the median of what is known; NaN where nothing is (no task on which the full model beats guessing)."""
    return np.asarray(np.ma.median(np.ma.masked_invalid(values), axis=axis).filled(np.nan))


def known_mean(values: object, axis: int = 0) -> np.ndarray:
    """Return the mean of what is known, likewise."""
    return np.asarray(np.ma.masked_invalid(values).mean(axis=axis).filled(np.nan))


def bounds(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the 95 % interval of replicates, ``[replicate, …]``."""
    return interval(np.asarray(values, dtype=np.float64))


def one_number(value: float, again: np.ndarray) -> tuple[float, float, float]:
    """Return a number and the ends of its interval."""
    low, high = bounds(again[:, None])
    return float(value), float(low[0]), float(high[0])
