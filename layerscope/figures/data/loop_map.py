"""How often a parallel stage should run: the map of a sweep with several loop counts, and how sure its best are.

It knows the sweep Dataset (dimensions ``task``, ``run``, ``example``), not axes.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from layerscope.errors import MeasureError
from layerscope.evaluation.bootstrap import drawn, interval, resampled_scores
from layerscope.figures.data.sweep_scores import Scores, column, scores

__all__ = ["LoopMap", "Proportion", "best_loops", "loop_map"]

_REPLICATES = 1000
_BOOTSTRAPPED = ("example_loss", "example_correct", "target_tokens", "examples")


@dataclass(frozen=True)
class Proportion:
    """Loops as a multiple of the number of affected blocks: the least-squares line through the origin.

    Attributes
    ----------
    loops_a_block
        Its slope.
    low, high
        Ends of its 95 % interval; NaN without.
    """

    loops_a_block: float
    low: float
    high: float


@dataclass(frozen=True)
class LoopMap:
    """A quantity of looped parallel for each number of loops and of affected blocks.

    Attributes
    ----------
    found
        The quantity of all runs.
    loops, affected
        What rows and columns stand for.
    values
        NaN where the sweep has no run.
    above
        1 where accuracy is above chance, 0 where not, NaN where nothing tells.
    best
        The number of loops that is best for each M, NaN where all are equally good.
    low, high
        Ends of its 95 % interval, from a bootstrap over the examples of each task; NaN where the sweep holds no examples.
    proportion
        Of the best numbers of loops to M; None where no M has a best.
    """

    found: Scores
    loops: Int[np.ndarray, " loops"]
    affected: Int[np.ndarray, " affected"]
    values: Float[np.ndarray, "loops affected"]
    above: Float[np.ndarray, "loops affected"]
    best: Float[np.ndarray, " affected"]
    low: Float[np.ndarray, " affected"]
    high: Float[np.ndarray, " affected"]
    proportion: Proportion | None


def loop_map(dataset: xr.Dataset, quantity: str, task: str | None = None) -> LoopMap:
    """Take the map of a quantity from a sweep.

    The best count of each M is sought again in every replicate of a bootstrap over examples, which draws the same examples
    for all runs. A best count at the end of those that were tried may lie beyond it, and its interval then too.

    Raises
    ------
    UsageError, MeasureError
        As `layerscope.figures.kinds.loops.loops`.

    Examples
    --------
    >>> from layerscope.figures.data.example import example_sweep
    >>> found = loop_map(example_sweep(), "loss")
    >>> found.values.tolist(), found.best.tolist(), found.proportion.loops_a_block
    ([[3.5], [3.0]], [3.0], 1.0)
    """
    found = scores(dataset, quantity, task)
    runs, loops, affected = _places(dataset, found)
    better = found.quantity.better
    values = _map(found.values, runs)
    above = np.full(len(found.values), np.nan) if found.above is None else found.above
    best = best_loops(values, loops, better)
    low = high = np.full(len(affected), np.nan)
    slopes = np.full(1, np.nan)
    replicates = _replicates(dataset, found)
    if replicates is not None:
        again = np.stack([best_loops(_map(of_one, runs), loops, better) for of_one in replicates])
        low, high = interval(again)
        slopes = np.array([_slope(of_one, affected) for of_one in again])
    ends = [float(end[0]) for end in interval(slopes[:, None])]
    proportion = Proportion(_slope(best, affected), *ends) if np.isfinite(best).any() else None
    return LoopMap(found, loops, affected, values, _map(above, runs), best, low, high, proportion)


def best_loops(
    values: Float[np.ndarray, "loops affected"], loops: Int[np.ndarray, " loops"], better: int
) -> Float[np.ndarray, " affected"]:
    """Return for each column the number of loops with the best value, the least of several; NaN where all are equal.

    Examples
    --------
    >>> best_loops(np.array([[3.0, 2.0, 1.0], [2.0, 2.0, np.nan]]), np.array([1, 4]), better=-1)
    array([ 4., nan, nan])
    """
    good = better * values
    most = np.where(np.isfinite(good), good, -np.inf).max(axis=0)
    least = np.where(np.isfinite(good), good, np.inf).min(axis=0)
    # Sums of the same examples in another order are the same score.
    near = 1e-9 * np.abs(most) + 1e-12
    return np.where(most - least > near, loops[(good >= most - near).argmax(axis=0)], np.nan)


def _slope(best: Float[np.ndarray, " affected"], affected: Int[np.ndarray, " affected"]) -> float:
    known = np.isfinite(best)
    return float(best[known] @ affected[known] / (affected[known] @ affected[known])) if known.any() else float("nan")


def _places(
    dataset: xr.Dataset, found: Scores
) -> tuple[Int[np.ndarray, "loops affected"], Int[np.ndarray, " loops"], Int[np.ndarray, " affected"]]:
    """Return which run each place of the map is (-1: none), and the numbers that rows and columns stand for."""
    variant, affected, counts = (column(dataset, name) for name in ("variant", "affected", "loops"))
    # Parallel first: where loops=1 was run by that name too, it is the same schedule.
    once = np.flatnonzero((variant == "parallel") & np.isfinite(found.values))
    looped = np.flatnonzero((variant == "looped_parallel") & np.isfinite(found.values))
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


def _replicates(dataset: xr.Dataset, found: Scores) -> Float[np.ndarray, "replicate run"] | None:
    """Draw examples again and again, and return the quantity of all runs each time; None where the sweep has none."""
    if not set(_BOOTSTRAPPED) <= set(dataset) or found.quantity.name == "accuracy_norm":
        return None
    of_tasks = []
    for number, name in enumerate(found.tasks):
        weights = drawn(int(dataset["examples"].sel(task=name)), _REPLICATES, seed=number)
        of_tasks.append(resampled_scores(dataset, name, weights)[found.quantity.name])
    return np.asarray(np.median(of_tasks, axis=0))
