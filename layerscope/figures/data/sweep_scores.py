"""A quantity of the runs of a sweep, of one task or over several, with what chance and the full model are worth.

It knows the sweep Dataset (dimensions ``task``, ``run``), not axes.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from layerscope.datasets import require_variables
from layerscope.errors import MeasureError, UsageError, unknown_name

__all__ = ["QUANTITIES", "Quantity", "Scores", "column", "depth_of", "quantity_of", "scores", "tasks_of"]


@dataclass(frozen=True)
class Quantity:
    """Something a sweep measures of each run.

    Attributes
    ----------
    name
        Its variable in the sweep.
    words
        What stands at the axis.
    better
        1 where more is better, -1 where less is.
    ends
        What chance and the full model are worth, where they are the same for all tasks.
    middle
        How several tasks are put together: by their median, or, as GLUE is, by their mean.
    """

    name: str
    words: str
    better: int
    ends: tuple[float, float] | None = None
    middle: Literal["median", "mean"] = "median"

    @property
    def short(self) -> str:
        """The same where there is little room."""
        return "normalised score" if self.ends else self.words.split(" (")[0]

    @property
    def names(self) -> list[str]:
        """What stands at the axis, longest first."""
        return [self.words, self.short]

    @property
    def counts_answers(self) -> bool:
        """Whether chance is a level of it."""
        return self.better > 0

    @property
    def logarithmic(self) -> bool:
        """Whether it grows beyond any linear axis."""
        return self.name == "perplexity"


QUANTITIES: dict[str, Quantity] = {
    quantity.name: quantity
    for quantity in (
        Quantity("normalized", "score (0: chance, 1: full model)", 1, (0.0, 1.0)),
        Quantity("loss", "loss (nats per token)", -1),
        Quantity("loss_difference", "loss increase (nats per token)", -1),
        Quantity("accuracy", "accuracy", 1),
        Quantity("accuracy_norm", "accuracy, by length", 1),
        Quantity("perplexity", "perplexity", -1),
        Quantity("score", "score (each task's own)", 1, middle="mean"),
    )
}


@dataclass(frozen=True)
class Scores:
    """A quantity of every run: of one task, or the middle of several (the median, unless the quantity says the mean).

    Attributes
    ----------
    values
        NaN where a run lacks one of the tasks.
    low, high
        The interval of one task, if the sweep has it; the middle of several has none.
    above
        Whether accuracy is above chance (its interval too, where there is one) in more than half of the tasks; None if
        the sweep cannot tell.
    chance
        What chance is worth, if that is one number.
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
        """Which runs are drawn filled: those above chance, and all where nothing tells."""
        return np.ones(len(self.values), bool) if self.above is None else np.nan_to_num(self.above, nan=1.0) > 0.5

    @property
    def levels(self) -> list[float]:
        """What the full model is worth, and chance where that is one number."""
        return [float(self.values[0]), *([] if self.chance is None else [self.chance])]

    @property
    def names(self) -> list[str]:
        """What stands at the axis, longest first; of several tasks how they were put together."""
        kind = self.quantity
        if len(self.tasks) == 1:
            return kind.names
        middle = "mean" if len(self.tasks) == 2 else kind.middle
        return [
            f"{kind.words}, {middle} of {len(self.tasks)} tasks",
            f"{middle} {kind.words}",
            f"{middle} {kind.short}",
        ]


_TEXT = ("schedule", "variant", "task", "drift", "kind")
_DIMS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(["drift_cosine", "drift_norm", "drift_cka"], ("task", "run")),
    **dict.fromkeys(["schedule", "variant", "start", "seed", "loops", "affected", "stages"], ("run",)),
    **dict.fromkeys(["seconds_per_token", "stacked"], ("run",)),
    **dict.fromkeys(["drift_cosine_stage", "drift_norm_stage", "variance_stage"], ("task", "run", "stage")),
    **dict.fromkeys(["rank_correlation", "rank_correlation_low", "rank_correlation_high"], ("task", "drift")),
    "reference_state": ("run", "stage"),
    "task": ("task",),
    "drift": ("drift",),
    **dict.fromkeys(["example_loss", "example_correct"], ("task", "run", "example")),
    **dict.fromkeys(["target_tokens", "target_bytes"], ("task", "example")),
    **dict.fromkeys(["chance", "examples", "kind"], ("task",)),
}
"""What figures read of a sweep, by its dimensions."""


def quantity_of(name: str) -> Quantity:
    """Return a quantity by its name.

    Raises
    ------
    UsageError
        There is none of this name.
    """
    if name not in QUANTITIES:
        raise unknown_name("quantity", name, QUANTITIES)
    return QUANTITIES[name]


def column(sweep: xr.Dataset, name: str) -> np.ndarray:
    """Return a column of the runs, in run order.

    Raises
    ------
    UsageError
        This is no sweep, or one without this column.
    """
    if not {"task", "run"} <= set(sweep.dims) or name not in sweep or sweep[name].dims != ("run",):
        raise UsageError(f"this is no sweep: it has no {name} of each run\nmake one with layerscope sweep")
    return np.asarray(sweep[name].values)


def depth_of(sweep: xr.Dataset) -> int:
    """Return the number of blocks T: the stages of the full model.

    Raises
    ------
    UsageError
        This is no sweep: its run 0 is not the full model.
    """
    variants, stages = column(sweep, "variant"), column(sweep, "stages")
    if not len(variants) or variants[0] != "identity":
        raise UsageError("this is no sweep: run 0 is not the full model\nmake one with layerscope sweep")
    return int(stages[0])


def tasks_of(sweep: xr.Dataset, task: str | None = None) -> list[str]:
    """Return the tasks asked for: one by its name, or all.

    Raises
    ------
    UsageError
        This is no sweep, or it has no such task.
    """
    depth_of(sweep)
    if "task" not in sweep.coords:
        raise UsageError("this is no sweep: its tasks have no names\nmake one with layerscope sweep")
    require_variables(sweep, "sweep: make one with layerscope sweep, or ls.sweep", _DIMS, text=_TEXT)
    if {"example", "examples"} <= set(sweep.sizes) | set(sweep.variables) and sweep["examples"].max() > sweep.sizes[
        "example"
    ]:
        held, scored = sweep.sizes["example"], int(sweep["examples"].max())
        raise UsageError(f"the dataset has {held} of the {scored} examples that were scored\nselect all examples")
    known = [str(name) for name in sweep["task"].values]
    if task is None:
        return known
    if task not in known:
        raise unknown_name("task of this sweep", task, known)
    return [task]


def scores(sweep: xr.Dataset, quantity: str, task: str | None = None) -> Scores:
    """Return a quantity of every run, of one task or as the middle of all that have it.

    Parameters
    ----------
    sweep
        A sweep Dataset.
    quantity
        A name of `QUANTITIES`.
    task
        A task, or None for the middle of those tasks that have the quantity.

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
    """Return a variable as ``[task, run]`` for some tasks; None if the sweep has it not."""
    if name not in sweep or set(sweep[name].dims) != {"task", "run"}:
        return None
    return np.asarray(sweep[name].sel(task=tasks).transpose("task", "run").values, dtype=np.float64)


def _full(sweep: xr.Dataset, name: str, tasks: list[str]) -> np.ndarray:
    """Return what the full model has of a quantity, for some tasks; NaN if the sweep has it not."""
    table = _table(sweep, name, tasks)
    return np.full(len(tasks), np.nan) if table is None else table[:, 0]


def _above_chance(sweep: xr.Dataset, tasks: list[str]) -> np.ndarray | None:
    """Tell of each run whether it answers better than chance: 1.0, 0.0, or NaN where no task can tell."""
    if "chance" not in sweep:
        return None
    accuracy = _table(sweep, "accuracy_low", tasks)
    accuracy = _table(sweep, "accuracy", tasks) if accuracy is None else accuracy
    if accuracy is None:
        return None
    chance = np.asarray(sweep["chance"].sel(task=tasks).values, dtype=np.float64)[:, None]
    told = np.isfinite(accuracy) & np.isfinite(chance)
    if not told.any():
        return None
    better = (told & (accuracy > chance)).sum(axis=0)
    return np.where(told.any(axis=0), (2 * better > told.sum(axis=0)).astype(np.float64), np.nan)


def _chance(sweep: xr.Dataset, quantity: Quantity, tasks: list[str]) -> float | None:
    if quantity.ends is not None:
        return quantity.ends[0]
    if not quantity.counts_answers or "chance" not in sweep or len(tasks) > 1:
        return None
    chance = float(sweep["chance"].sel(task=tasks[0]))
    return chance if np.isfinite(chance) else None
