"""Quantity of the runs of a sweep for one task or several, with its levels for chance and the full model."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from layerscope.errors import MeasureError
from layerscope.figures.data.quantities import QUANTITIES, Quantity, quantity_of
from layerscope.figures.data.sweep_columns import tasks_of

__all__ = ["Scores", "sweep_scores"]


@dataclass(frozen=True)
class Scores:
    """Quantity of every run for one task, or its average over several.

    Attributes
    ----------
    quantity, tasks
        The quantity, and the tasks that have it.
    values
        NaN where a run lacks one of the tasks.
    low, high
        Ends of the interval, for one task only; None if the sweep lacks it.
    above
        1 where accuracy and, if there is one, its interval are above chance in more than half of the tasks, otherwise 0. None if
        the sweep has no accuracy.
    chance
        Value of chance, if it is one number.
    """

    quantity: Quantity
    tasks: tuple[str, ...]
    values: Float[np.ndarray, " run"]
    low: Float[np.ndarray, " run"] | None
    high: Float[np.ndarray, " run"] | None
    above: Float[np.ndarray, " run"] | None
    chance: float | None

    @property
    def filled(self) -> Bool[np.ndarray, " run"]:
        """Whether a run has a filled marker: it is above chance, or this is unknown."""
        return np.ones(len(self.values), bool) if self.above is None else np.nan_to_num(self.above, nan=1.0) > 0.5

    @property
    def levels(self) -> list[float]:
        """Value of the full model, and of chance if it is one number."""
        return [float(self.values[0]), *([] if self.chance is None else [self.chance])]

    @property
    def names(self) -> list[str]:
        """Names of the axis, longest first, with the average over tasks."""
        kind = self.quantity
        if len(self.tasks) == 1:
            return kind.names
        middle = "mean" if len(self.tasks) == 2 else kind.middle
        return [
            f"{kind.words}, {middle} of {len(self.tasks)} tasks",
            f"{middle} {kind.words}",
            f"{middle} {kind.short}",
        ]


def sweep_scores(sweep: xr.Dataset, quantity: str, task: str | None = None) -> Scores:
    """Return a quantity of every run for one task, or its average over all tasks that have it.

    Parameters
    ----------
    sweep
        A sweep Dataset.
    quantity
        A name of `QUANTITIES`.
    task
        Name of a task; None for the average.

    Raises
    ------
    UsageError
        This is no sweep; it has no such task or quantity.
    MeasureError
        The quantity is missing from these tasks.
    """
    kind, names = quantity_of(quantity), tasks_of(sweep, task)
    table = _table(sweep, quantity, names)
    kept = [name for name, value in zip(names, _full(sweep, quantity, names), strict=True) if np.isfinite(value)]
    if table is None or not kept:
        why = " (the full model is no better than guessing)" if quantity == "normalized" and table is not None else ""
        held = next(
            (name for name in ("loss", "accuracy", *QUANTITIES) if np.isfinite(_full(sweep, name, names)).any()), None
        )
        raise MeasureError(
            f"the sweep has no {quantity} of {' and '.join(names) if len(names) < 3 else 'its tasks'}{why}: "
            + (f"draw --quantity {held} instead" if held else "sweep again")
        )
    rows = [names.index(name) for name in kept]
    low, high = (_table(sweep, f"{quantity}_{end}", kept) if len(kept) == 1 else None for end in ("low", "high"))
    return Scores(
        kind,
        tuple(kept),
        (np.mean if kind.middle == "mean" else np.median)(table[rows], axis=0),
        None if low is None or high is None else low[0],
        None if low is None or high is None else high[0],
        _above_chance(sweep, kept),
        _chance(sweep, kind, kept),
    )


def _table(sweep: xr.Dataset, name: str, tasks: list[str]) -> np.ndarray | None:
    """Return a variable as ``[task, run]`` for some tasks, None if the sweep lacks it."""
    if name not in sweep or set(sweep[name].dims) != {"task", "run"}:
        return None
    return np.asarray(sweep[name].sel(task=tasks).transpose("task", "run").values, dtype=np.float64)


def _full(sweep: xr.Dataset, name: str, tasks: list[str]) -> np.ndarray:
    """Return a quantity of the full model for some tasks, NaN if the sweep lacks it."""
    table = _table(sweep, name, tasks)
    return np.full(len(tasks), np.nan) if table is None else table[:, 0]


def _above_chance(sweep: xr.Dataset, tasks: list[str]) -> np.ndarray | None:
    """Return for each run 1 if accuracy is above chance, 0 if not, NaN if no task has an accuracy."""
    if "chance" not in sweep:
        return None
    accuracy = _table(sweep, "accuracy_low", tasks)
    accuracy = _table(sweep, "accuracy", tasks) if accuracy is None else accuracy
    if accuracy is None:
        return None
    chance = np.asarray(sweep["chance"].sel(task=tasks).values, dtype=np.float64)[:, None]
    known = np.isfinite(accuracy) & np.isfinite(chance)
    if not known.any():
        return None
    better = (known & (accuracy > chance)).sum(axis=0)
    return np.where(known.any(axis=0), (2 * better > known.sum(axis=0)).astype(np.float64), np.nan)


def _chance(sweep: xr.Dataset, quantity: Quantity, tasks: list[str]) -> float | None:
    if quantity.ends is not None:
        return quantity.ends[0]
    if not quantity.counts_answers or "chance" not in sweep or len(tasks) > 1:
        return None
    chance = float(sweep["chance"].sel(task=tasks[0]))
    return chance if np.isfinite(chance) else None
