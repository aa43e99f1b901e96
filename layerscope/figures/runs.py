"""What a figure takes from a sweep: a quantity of its runs, over tasks and seeds, as curves of a variant.

It knows the sweep Dataset (dimensions ``task``, ``run``), not axes.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

from layerscope.errors import MeasureError, UsageError, unknown_name
from layerscope.schedules.spec import VARIANTS

__all__ = [
    "QUANTITIES",
    "RANGE_VARIANTS",
    "Curve",
    "Quantity",
    "Scores",
    "chosen_loops",
    "column",
    "curves",
    "depth_of",
    "quantity_of",
    "scores",
    "tasks_of",
]

Bars = Literal["none", "seeds", "interval"]

PAPER_LOOPS = 3


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
    """

    name: str
    words: str
    better: int
    ends: tuple[float, float] | None = None

    @property
    def counts_answers(self) -> bool:
        """Whether chance is a level of it."""
        return self.better > 0


QUANTITIES: dict[str, Quantity] = {
    quantity.name: quantity
    for quantity in (
        Quantity("normalized", "score (0 = chance, 1 = full model)", 1, (0.0, 1.0)),
        Quantity("loss", "loss (nats per token)", -1),
        Quantity("accuracy", "accuracy", 1),
        Quantity("accuracy_norm", "accuracy, by length", 1),
        Quantity("perplexity", "perplexity", -1),
    )
}

RANGE_VARIANTS = tuple(variant.name for variant in VARIANTS.values() if variant.place == "start")
"""Those that affect a range of blocks, in the order of figures."""


@dataclass(frozen=True)
class Scores:
    """A quantity of every run: of one task, or the median over several.

    Attributes
    ----------
    values
        NaN where a run lacks one of the tasks.
    low, high
        The interval of one task, if the sweep has it; the median over several has none.
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
    def words(self) -> str:
        """What stands at the axis."""
        return self.quantity.words if len(self.tasks) == 1 else f"median {self.quantity.words}"


@dataclass(frozen=True)
class Curve:
    """The runs of one variant, a point a start (or block), seeds averaged.

    Attributes
    ----------
    members
        The runs behind each point.
    bars
        What `low` and `high` are: least and greatest over seeds, an interval, or nothing.
    """

    variant: str
    start: Int[np.ndarray, " point"]
    affected: Int[np.ndarray, " point"]
    stages: Int[np.ndarray, " point"]
    members: tuple[Int[np.ndarray, " seed"], ...]
    values: Float[np.ndarray, " point"]
    low: Float[np.ndarray, " point"]
    high: Float[np.ndarray, " point"]
    bars: Bars
    above: Bool[np.ndarray, " point"]
    loops: int = -1

    def mean(self, values: Float[np.ndarray, " run"]) -> Float[np.ndarray, " point"]:
        """Return the mean of some other number of the runs behind each point."""
        return np.array([values[runs].mean() for runs in self.members])

    @property
    def seeds(self) -> int:
        """How many runs a point has at most."""
        return max(len(runs) for runs in self.members)


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
    known = [str(name) for name in sweep["task"].values]
    if task is None:
        return known
    if task not in known:
        raise unknown_name("task of this sweep", task, known)
    return [task]


def scores(sweep: xr.Dataset, quantity: str, task: str | None = None) -> Scores:
    """Return a quantity of every run, of one task or as the median over all that have it.

    Parameters
    ----------
    sweep
        A sweep Dataset.
    quantity
        A name of `QUANTITIES`.
    task
        A task, or None for the median over those tasks that have the quantity.

    Raises
    ------
    UsageError
        This is no sweep; it has no such task or quantity.
    MeasureError
        The quantity is missing from these tasks.
    """
    kind, names = quantity_of(quantity), tasks_of(sweep, task)
    table = _table(sweep, quantity, names)
    kept = [] if table is None else [name for name, row in zip(names, table, strict=True) if np.isfinite(row[0])]
    if table is None or not kept:
        raise MeasureError(
            f"the sweep holds no {quantity} of {' and '.join(names) if len(names) < 3 else 'its tasks'}: "
            f"draw quantity {'accuracy' if quantity == 'loss' else 'loss'} instead"
        )
    rows = [names.index(name) for name in kept]
    low, high = (_table(sweep, f"{quantity}_{end}", kept) if len(kept) == 1 else None for end in ("low", "high"))
    return Scores(
        kind,
        tuple(kept),
        np.median(table[rows], axis=0),
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


def curves(sweep: xr.Dataset, found: Scores, variants: tuple[str, ...], loops: int | None = None) -> list[Curve]:
    """Return the curves of some variants that the sweep has, seeds averaged, in the order given.

    Parameters
    ----------
    sweep, found
        A sweep and what `scores` took from it.
    variants
        Names of variants.
    loops
        Which of several loop counts; see `chosen_loops`.

    Raises
    ------
    MeasureError
        The sweep has a run of none of the variants.
    """
    names, counts = column(sweep, "variant"), column(sweep, "loops")
    drawn = []
    for variant in variants:
        chosen = chosen_loops(sweep, loops) if variant == "looped_parallel" else -1
        runs = np.flatnonzero((names == variant) & np.isfinite(found.values) & ((counts == chosen) | (chosen < 0)))
        if runs.size:
            drawn.append(_curve(sweep, found, variant, runs, chosen))
    if not drawn:
        raise MeasureError(
            f"the sweep holds no finished run of {' or '.join(variants)}\n"
            f"run layerscope sweep with --variants {'all' if set(variants) == set(RANGE_VARIANTS) else ','.join(variants)}"
        )
    return drawn


def _curve(sweep: xr.Dataset, found: Scores, variant: str, runs: np.ndarray, loops: int) -> Curve:
    start, affected, stages = (column(sweep, name) for name in ("start", "affected", "stages"))
    members = [runs[start[runs] == number] for number in np.unique(start[runs])]
    members.sort(key=lambda those: (int(affected[those[0]]), int(start[those[0]])))
    firsts = np.array([those[0] for those in members])
    several = any(len(those) > 1 for those in members)
    values = np.array([found.values[those].mean() for those in members])
    low, high, bars = values, values, "none"
    if several:
        low = np.array([found.values[those].min() for those in members])
        high = np.array([found.values[those].max() for those in members])
        bars = "seeds"
    elif found.low is not None and found.high is not None:
        low, high, bars = found.low[firsts], found.high[firsts], "interval"
    # Where nothing tells, points look as those above chance do: filled.
    told = np.ones(len(found.values)) if found.above is None else np.nan_to_num(found.above, nan=1.0)
    return Curve(
        variant,
        start[firsts].astype(np.int64),
        affected[firsts].astype(np.int64),
        stages[firsts].astype(np.int64),
        tuple(members),
        values,
        low,
        high,
        bars,  # type: ignore[arg-type]
        np.array([told[those].mean() > 0.5 for those in members]),
        loops,
    )


def chosen_loops(sweep: xr.Dataset, loops: int | None = None) -> int:
    """Return the loop count to draw: the one asked for, else the paper's 3, else the least above 1; -1 if there is none.

    Raises
    ------
    UsageError
        The sweep has not the one asked for.
    """
    counts = column(sweep, "loops")
    known = sorted({int(count) for count in counts[column(sweep, "variant") == "looped_parallel"]})
    if loops is not None:
        if loops not in known:
            raise UsageError(f"the sweep has no looped_parallel with loops={loops}: it has {known or 'none'}")
        return loops
    if not known:
        return -1
    return PAPER_LOOPS if PAPER_LOOPS in known else next((count for count in known if count > 1), known[0])
