"""Bootstrap a sweep's examples with the same draw for every run of a task, so that differences between runs are paired.

A number and its draws are one array, ``[1 + draw, …]``: entry 0 is the number itself, from all examples. Computing with the
array computes the number and its draws together.
"""

import zlib

import numpy as np
import xarray as xr

from layerscope.evaluation.bootstrap import resampled_scores
from layerscope.measures.kernels.bootstrap import bootstrap_weights, percentiles

DRAWS = 1000
RUN = ["schedule", "variant", "start", "seed", "loops", "affected", "stages"]  # identify a run


def weights(name: str, count: int) -> np.ndarray:
    """Return the weights of `count` examples: ``[1 + draw, example]``, with different draws for each name."""
    return np.vstack([np.full(count, 1.0), bootstrap_weights(count, DRAWS, seed=zlib.crc32(name.encode()))]) / count


def task_scores(sweep: xr.Dataset, task: str) -> dict[str, np.ndarray]:
    """Return the scores of one task with their draws: ``[1 + draw, run]``."""
    return resampled_scores(sweep, task, weights(task, int(sweep.examples.sel(task=task))))


def over_tasks(sweep: xr.Dataset, quantity: str, tasks: list[str]) -> np.ndarray:
    """Return the median over tasks of each run, with its draws: ``[1 + draw, run]``; NaN where all tasks are NaN."""
    return known_median(np.stack([task_scores(sweep, task)[quantity] for task in tasks]))


def tasks_of(sweep: xr.Dataset) -> list[str]:
    """Return the names of a sweep's tasks."""
    return [str(task) for task in sweep.task.values]


def better_than_guessing(sweep: xr.Dataset) -> list[str]:
    """Return the tasks where the full model's whole interval is above guessing; all tasks if there are none."""
    full = sweep.isel(run=0)
    able = (full.accuracy_low > full.chance).values
    return tasks_of(sweep.isel(task=able)) or tasks_of(sweep)


def without_score(normalized: np.ndarray) -> float:
    """Return the share of draws without a score, because the full model is not better than guessing."""
    return float(np.isnan(normalized[1:, 0]).mean())


def as_one_task(sweep: xr.Dataset, numbers: dict[str, np.ndarray]) -> xr.Dataset:
    """Return numbers of a sweep's runs with their intervals as a sweep of one task, for ``ls.figures``."""
    columns = {}
    for quantity, values in numbers.items():
        low, high = ends(values)
        columns |= {quantity: values[0], f"{quantity}_low": low, f"{quantity}_high": high}
    return xr.Dataset(
        {name: (("task", "run"), values[None]) for name, values in columns.items()},
        coords={"task": ["median"]} | {name: sweep[name] for name in RUN},
        attrs=sweep.attrs,
    )


def with_draws(analysis: xr.Dataset, measure: str) -> np.ndarray:
    """Return a similarity matrix with its draws of texts: ``[1 + draw, layer, layer]``."""
    return np.concatenate([analysis[measure].values[None], analysis[f"{measure}_bootstrap"].values])


def runs_of(sweep: xr.Dataset, variant: str, least: float = 1, most: float = np.inf) -> np.ndarray:
    """Return the runs of a variant that affect `least` to `most` blocks, in ascending order of blocks."""
    affected = sweep.affected.values
    some = np.flatnonzero((sweep.variant.values == variant) & (affected >= least) & (affected <= most))
    return some[np.argsort(affected[some], kind="stable")]


def known_median(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Return the median of the finite values; NaN without any."""
    return np.asarray(np.ma.median(np.ma.masked_invalid(values), axis=axis).filled(np.nan))


def known_mean(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Return the mean of the finite values; NaN without any."""
    return np.asarray(np.ma.masked_invalid(values).mean(axis=axis).filled(np.nan))


def ends(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the 95 % interval of each number, from its draws."""
    return percentiles(np.asarray(values, dtype=np.float64)[1:])


def one_number(values: np.ndarray) -> tuple[float, float, float]:
    """Return a number and the ends of its interval, for `Findings.add`."""
    low, high = ends(np.asarray(values)[:, None])
    return float(values[0]), float(low[0]), float(high[0])
