"""The runs of a sweep as curves: a variant each, a point a start, seeds averaged.

It knows the sweep Dataset (dimensions ``task``, ``run``), not axes.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

from layerscope.errors import MeasureError, UsageError
from layerscope.figures.data.sweep_scores import Scores, column
from layerscope.schedules.variant import VARIANTS

__all__ = ["RANGE_VARIANTS", "Curve", "chosen_loops", "curves"]

Bars = Literal["none", "seeds", "interval"]

PAPER_LOOPS = 3


RANGE_VARIANTS = tuple(variant.name for variant in VARIANTS.values() if variant.place == "start")
"""Those that affect a range of blocks, in the order of figures."""


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

    def only(self, which: Bool[np.ndarray, " point"]) -> "Curve | None":
        """Return the curve of some of its points, None of none."""
        if not which.any():
            return None
        arrays = {
            name: getattr(self, name)[which]
            for name in ("start", "affected", "stages", "values", "low", "high", "above")
        }
        return replace(
            self, members=tuple(runs for runs, kept in zip(self.members, which, strict=True) if kept), **arrays
        )

    @property
    def seeds(self) -> int:
        """How many runs a point has at most."""
        return max(len(runs) for runs in self.members)


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
        everything = variants == RANGE_VARIANTS
        raise MeasureError(
            f"the sweep holds no finished run of {'a range variant' if everything else ' or '.join(variants)}\n"
            f"run layerscope sweep with --variants {'all' if everything else ','.join(variants)}"
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
        np.array([found.filled[those].mean() > 0.5 for those in members]),
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
