"""Map of a sweep over loop counts of the parallel stage, with the best counts and their uncertainty."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from layerscope.errors import MeasureError
from layerscope.evaluation.bootstrap import resampled_scores
from layerscope.figures.data.sweep_columns import column
from layerscope.figures.data.sweep_scores import Scores, sweep_scores
from layerscope.measures.kernels.bootstrap import bootstrap_weights, percentiles

__all__ = ["LoopMap", "Proportion", "best_loops", "loop_map"]

_REPLICATES = 1000
_BOOTSTRAPPED = ("example_loss", "example_correct", "target_tokens", "examples")


@dataclass(frozen=True)
class Proportion:
    """Best loop counts as a multiple of the number of affected blocks: the least-squares line through the origin.

    Attributes
    ----------
    loops_a_block
        Slope of the line.
    low, high
        Ends of its 95 % interval, or NaN.
    """

    loops_a_block: float
    low: float
    high: float


@dataclass(frozen=True)
class LoopMap:
    """Quantity of looped parallel for each loop count and number of affected blocks.

    Attributes
    ----------
    scores
        Quantity of all runs.
    loops, affected
        Loop counts of the rows, numbers of affected blocks (M) of the columns.
    values
        Values; NaN where the sweep has no run.
    above
        1 where accuracy is above chance, 0 where not, NaN where this is unknown.
    best
        Best loop count of each M; NaN if all are equal.
    low, high
        Ends of its 95 % interval, from a bootstrap over the examples of each task; NaN if the sweep has no examples.
    proportion
        Best loop counts in proportion to M; None if no M has a best count.
    """

    scores: Scores
    loops: Int[np.ndarray, " loops"]
    affected: Int[np.ndarray, " affected"]
    values: Float[np.ndarray, "loops affected"]
    above: Float[np.ndarray, "loops affected"]
    best: Float[np.ndarray, " affected"]
    low: Float[np.ndarray, " affected"]
    high: Float[np.ndarray, " affected"]
    proportion: Proportion | None


def loop_map(dataset: xr.Dataset, quantity: str, task: str | None = None) -> LoopMap:
    """Return the map of a quantity of a sweep.

    Intervals are from a bootstrap over examples, with the same examples for all runs: every replicate has its own best
    counts. If the best count is the first or the last of the sweep, counts outside the sweep may be better.

    Raises
    ------
    UsageError, MeasureError
        As `layerscope.figures.kinds.loops.loops`.

    Examples
    --------
    >>> from layerscope.figures.data.synthetic_sweep import example_sweep
    >>> loss = loop_map(example_sweep(), "loss")
    >>> loss.values.tolist(), loss.best.tolist(), loss.proportion.loops_a_block
    ([[3.5], [3.0]], [3.0], 1.0)
    """
    scores = sweep_scores(dataset, quantity, task)
    runs, loops, affected = _places(dataset, scores)
    better = scores.quantity.better
    values = _map(scores.values, runs)
    above = np.full(len(scores.values), np.nan) if scores.above is None else scores.above
    best = best_loops(values, loops, better)
    low = high = np.full(len(affected), np.nan)
    slopes = np.full(1, np.nan)
    replicates = _replicates(dataset, scores)
    if replicates is not None:
        again = np.stack([best_loops(_map(of_one, runs), loops, better) for of_one in replicates])
        low, high = percentiles(again)
        slopes = np.array([_slope(of_one, affected) for of_one in again])
    ends = [float(end[0]) for end in percentiles(slopes[:, None])]
    proportion = Proportion(_slope(best, affected), *ends) if np.isfinite(best).any() else None
    return LoopMap(scores, loops, affected, values, _map(above, runs), best, low, high, proportion)


def best_loops(
    values: Float[np.ndarray, "loops affected"], loops: Int[np.ndarray, " loops"], better: int
) -> Float[np.ndarray, " affected"]:
    """Return the loop count with the best value in each column: the smallest of equals, NaN if all are equal.

    Examples
    --------
    >>> best_loops(np.array([[3.0, 2.0, 1.0], [2.0, 2.0, np.nan]]), np.array([1, 4]), better=-1)
    array([ 4., nan, nan])
    """
    good = better * values
    most = np.where(np.isfinite(good), good, -np.inf).max(axis=0)
    least = np.where(np.isfinite(good), good, np.inf).min(axis=0)
    # Sums in another order differ by rounding only.
    near = 1e-9 * np.abs(most) + 1e-12
    return np.where(most - least > near, loops[(good >= most - near).argmax(axis=0)], np.nan)


def _slope(best: Float[np.ndarray, " affected"], affected: Int[np.ndarray, " affected"]) -> float:
    known = np.isfinite(best)
    return float(best[known] @ affected[known] / (affected[known] @ affected[known])) if known.any() else float("nan")


def _places(
    dataset: xr.Dataset, scores: Scores
) -> tuple[Int[np.ndarray, "loops affected"], Int[np.ndarray, " loops"], Int[np.ndarray, " affected"]]:
    """Return the run of each cell of the map (-1: none), the loop counts of its rows and the M of its columns."""
    variant, affected, counts = (column(dataset, name) for name in ("variant", "affected", "loops"))
    # parallel and looped_parallel with loops=1 are the same schedule: the latter replaces the former.
    once = np.flatnonzero((variant == "parallel") & np.isfinite(scores.values))
    looped = np.flatnonzero((variant == "looped_parallel") & np.isfinite(scores.values))
    known = sorted({int(count) for count in counts[looped]})
    if len(known) < 2:
        has = f"loops={known[0]} alone" if known else "none"
        raise MeasureError(
            f"the map of loops needs several loop counts of looped_parallel, the sweep has {has}\n"
            "run layerscope sweep with --variants looped_parallel --loops 1-28"
        )
    rows = sorted({*known, *([1] if once.size else [])})
    columns = sorted({int(count) for count in affected[looped]})
    runs = np.full((len(rows), len(columns)), -1)
    for those, count_of in ((once, np.ones_like(counts)), (looped, counts)):
        for run in those:
            if int(affected[run]) in columns:
                runs[rows.index(int(count_of[run])), columns.index(int(affected[run]))] = run
    return runs, np.array(rows), np.array(columns)


def _map(
    of_runs: Float[np.ndarray, " run"], runs: Int[np.ndarray, "loops affected"]
) -> Float[np.ndarray, "loops affected"]:
    return np.where(runs < 0, np.nan, of_runs[runs])


def _replicates(dataset: xr.Dataset, scores: Scores) -> Float[np.ndarray, "replicate run"] | None:
    """Return bootstrap replicates of the quantity of all runs over examples; None if the sweep has no examples."""
    if not set(_BOOTSTRAPPED) <= set(dataset) or scores.quantity.name == "accuracy_norm":
        return None
    of_tasks = []
    for number, name in enumerate(scores.tasks):
        examples = int(dataset["examples"].sel(task=name))
        weights = bootstrap_weights(examples, _REPLICATES, seed=number) / examples
        of_tasks.append(resampled_scores(dataset, name, weights)[scores.quantity.name])
    return np.asarray(np.median(of_tasks, axis=0))
