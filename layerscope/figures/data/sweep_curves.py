"""Runs of a sweep as curves: one curve a variant, one point a start, averaged over seeds."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

from layerscope.errors import MeasureError, UsageError
from layerscope.evaluation.sweep_plan import RANGE_VARIANTS
from layerscope.figures.data.sweep_columns import column
from layerscope.figures.data.sweep_scores import Scores
from layerscope.schedules.variant import VARIANTS

__all__ = ["BLOCK_VARIANTS", "RANGE_VARIANTS", "SHORTER_VARIANTS", "Curve", "chosen_loops", "sweep_curves"]

Bars = Literal["none", "seeds", "interval"]

_PAPER_LOOPS = 3


BLOCK_VARIANTS = tuple(variant.name for variant in VARIANTS.values() if variant.place == "block")
"""Variants that affect a single block."""

SHORTER_VARIANTS = tuple(name for name in RANGE_VARIANTS if len(VARIANTS[name].build(8, 0)) < 8)
"""Range variants with fewer sequential stages than the full model."""


@dataclass(frozen=True)
class Curve:
    """Runs of one variant, with one point for each start or block.

    Attributes
    ----------
    start, affected, stages
        Start or block, number of affected blocks and of stages of each point.
    members
        Runs that each point averages.
    values
        Value of each point.
    low, high, bars
        Ends of a range over ``seeds``, of an ``interval``, or of nothing (``none``).
    above
        Whether most runs of a point are above chance.
    loops
        Loop count of looped parallel, otherwise -1.
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
        """Return the mean of another quantity over the runs of each point."""
        return np.array([values[runs].mean() for runs in self.members])

    def only(self, which: Bool[np.ndarray, " point"]) -> "Curve | None":
        """Return the curve of some of its points, None if there are none."""
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
        """Largest number of runs of a point."""
        return max(len(runs) for runs in self.members)


def sweep_curves(sweep: xr.Dataset, scores: Scores, variants: tuple[str, ...], loops: int | None = None) -> list[Curve]:
    """Return the curves of those variants that the sweep has, in the given order.

    Parameters
    ----------
    sweep, scores
        A sweep, and its quantity to draw.
    variants
        Names of variants.
    loops
        Loop count of looped parallel; see `chosen_loops`.

    Raises
    ------
    MeasureError
        The sweep has no finished run of these variants.
    """
    names, counts = column(sweep, "variant"), column(sweep, "loops")
    curves = []
    for variant in variants:
        chosen = chosen_loops(sweep, loops) if variant == "looped_parallel" else -1
        runs = np.flatnonzero((names == variant) & np.isfinite(scores.values) & ((counts == chosen) | (chosen < 0)))
        if runs.size:
            curves.append(_curve(sweep, scores, variant, runs, chosen))
    if not curves:
        everything = variants == RANGE_VARIANTS
        raise MeasureError(
            f"the sweep holds no finished run of {'a range variant' if everything else ' or '.join(variants)}\n"
            f"run layerscope sweep with --variants {'all' if everything else ','.join(variants)}"
        )
    return curves


def _curve(sweep: xr.Dataset, scores: Scores, variant: str, runs: np.ndarray, loops: int) -> Curve:
    start, affected, stages = (column(sweep, name) for name in ("start", "affected", "stages"))
    members = [runs[start[runs] == number] for number in np.unique(start[runs])]
    members.sort(key=lambda those: (int(affected[those[0]]), int(start[those[0]])))
    firsts = np.array([those[0] for those in members])
    several = any(len(those) > 1 for those in members)
    values = np.array([scores.values[those].mean() for those in members])
    low, high, bars = values, values, "none"
    if several:
        low = np.array([scores.values[those].min() for those in members])
        high = np.array([scores.values[those].max() for those in members])
        bars = "seeds"
    elif scores.low is not None and scores.high is not None:
        low, high, bars = scores.low[firsts], scores.high[firsts], "interval"
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
        np.array([scores.filled[those].mean() > 0.5 for those in members]),
        loops,
    )


def chosen_loops(sweep: xr.Dataset, loops: int | None = None) -> int:
    """Return the loop count to draw: `loops`, otherwise the paper's 3, otherwise the smallest above 1; -1 if there is none.

    Raises
    ------
    UsageError
        The sweep lacks `loops`.
    """
    counts = column(sweep, "loops")
    known = sorted({int(count) for count in counts[column(sweep, "variant") == "looped_parallel"]})
    if loops is not None:
        if loops not in known:
            raise UsageError(f"the sweep has no looped_parallel with loops={loops}: it has {known or 'none'}")
        return loops
    if not known:
        return -1
    return _PAPER_LOOPS if _PAPER_LOOPS in known else next((count for count in known if count > 1), known[0])
