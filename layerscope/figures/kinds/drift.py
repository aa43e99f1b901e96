"""How far the last state drifts, against what the loss becomes: a point a run.

A sweep in, a figure out.
"""

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes

from layerscope.arguments import checked
from layerscope.errors import MeasureError, unknown_name
from layerscope.figures.data.sweep_scores import Scores, column, scores
from layerscope.figures.parts.axes import set_ticks_across, set_value_axis
from layerscope.figures.parts.figure import Figure
from layerscope.figures.parts.grid import make_grid
from layerscope.figures.parts.legend import hollow_entry, legend_entry, level_entry, size_entries
from layerscope.figures.parts.markers import FULL, LOOKS, draw_level, draw_markers, size_by_affected, task_looks
from layerscope.figures.parts.style import inches, styled

__all__ = ["DRIFTS", "drift"]

DRIFTS = {
    "drift_cosine": ["drift of the last state (1 − cosine)", "drift (1 − cosine)", "1 − cosine"],
    "drift_norm": ["drift of the last state (relative norm)", "drift (relative norm)", "relative norm"],
    "drift_cka": ["drift of the last state (1 − CKA)", "drift (1 − CKA)", "1 − CKA"],
}
"""Each drift, and how it is called, longest first."""

_FACTOR = 30.0  # on a logarithmic axis where the drifts span more


@checked
@styled
def drift(
    dataset: xr.Dataset, drift: str = "drift_cosine", *, task: str | None = None, width: str | float = "double"
) -> Figure:
    """Draw loss against drift, a point a run: whether what the last state loses is what the task loses.

    A panel a task, with Spearman's rank correlation over runs and its interval as the sweep has them. Colour and
    marker say the variant, size how many blocks are affected (M); hollow points are runs whose accuracy is not above chance.
    The loss of the full model is a broken level. Drifts that span more than a factor of 30 stand on a logarithmic axis,
    without the runs that do not drift at all.

    Parameters
    ----------
    dataset
        A sweep.
    drift
        ``drift_cosine``, ``drift_norm`` or ``drift_cka``: of the last state before the final norm, against the full
        model's on the same tokens.
    task
        One task; all by default.
    width
        ``double`` (up to three panels in a row), ``single`` (two) or inches.

    Raises
    ------
    UsageError
        It is no sweep; there is no such drift or task; `width` is impossible.
    MeasureError
        The sweep holds not this drift.

    Examples
    --------
    >>> from layerscope.figures.data.example import example_sweep
    >>> figure = drift(example_sweep())
    >>> figure.axes[0].get_xlabel()
    'drift of the last state (1 − cosine)'
    """
    if drift not in DRIFTS:
        raise unknown_name("drift", drift, DRIFTS)
    names = scores(dataset, "loss", task).tasks
    if drift not in dataset or not np.isfinite(dataset[drift].sel(task=list(names))).any():
        raise MeasureError(f"the sweep holds no {drift}: sweep again, or draw another of {', '.join(DRIFTS)}")
    found = [scores(dataset, "loss", name) for name in names]
    moved = [np.asarray(dataset[drift].sel(task=name).values, dtype=np.float64) for name in names]
    logarithmic = _spans_much(np.concatenate(moved))
    variants, affected = column(dataset, "variant"), column(dataset, "affected")
    shown = [name for name in LOOKS if name != "identity" and name in variants]
    sizes = size_by_affected(affected.astype(np.float64), int(affected.max()))
    hollow = any(of_task.above is not None and (of_task.above[1:] == 0).any() for of_task in found)
    groups = [
        [*(legend_entry(LOOKS[name], joined=False) for name in shown), level_entry(FULL)],
        [*size_entries(affected), *([hollow_entry(False)] if hollow else [])],
    ]
    alone = len(names) == 1
    titles = [_title(dataset, look.name, name, drift, alone) for name, look in task_looks(names).items()]
    grid = make_grid(inches(width), titles, groups, height=0.7 if alone else 0.85, shared=False)
    for axes, of_task, its_drift in zip(grid.places, found, moved, strict=True):
        for variant in sorted(shown, key=lambda name: -int((variants == name).sum())):  # the few over the many
            _scatter(axes, variant, its_drift, of_task, np.flatnonzero(variants == variant), sizes)
        draw_level(axes, float(of_task.values[0]), FULL)
        set_value_axis(axes)
        _set_drift_axis(axes, np.concatenate(moved), logarithmic)
    grid.name_axes(DRIFTS[drift], found[0].quantity.names, shared=False)
    return grid.figure


def _spans_much(moved: Float[np.ndarray, " any"]) -> bool:
    """Tell whether drifts that are any span more than linear axes show; rounding alone is none."""
    some = moved[np.isfinite(moved) & (moved > 1e-6)]
    return some.size > 0 and float(some.max() / np.percentile(some, 5)) > _FACTOR


def _scatter(axes: Axes, variant: str, moved: np.ndarray, found: Scores, runs: np.ndarray, sizes: np.ndarray) -> None:
    runs = runs[np.isfinite(moved[runs]) & np.isfinite(found.values[runs])]
    draw_markers(axes, moved[runs], found.values[runs], LOOKS[variant], found.filled[runs], sizes[runs])


def _title(dataset: xr.Dataset, words: str, task: str, drift: str, alone: bool) -> str:
    """Name the task, and say the rank correlation with its interval."""
    lines = [] if alone else [words]
    if "rank_correlation" in dataset and "drift" in dataset["rank_correlation"].coords:
        place = {"task": task, "drift": drift}
        value, low, high = (
            float(dataset[name].sel(place)) if name in dataset else float("nan")
            for name in ("rank_correlation", "rank_correlation_low", "rank_correlation_high")
        )
        if np.isfinite(value):
            interval = f" [{low:.2f}, {high:.2f}]" if np.isfinite(low) and np.isfinite(high) else ""
            lines.append(f"Spearman ρ = {value:.2f}{interval}".replace("-", "−"))
    return "\n".join(lines)


def _set_drift_axis(axes: Axes, moved: Float[np.ndarray, " any"], logarithmic: bool) -> None:
    """Set the axis of drifts, the same in all panels."""
    most = float(np.nanmax(moved)) or 1.0  # where nothing drifts, any scale shows it
    if logarithmic:
        axes.set_xscale("log")
        axes.set_xlim(float(moved[moved > 1e-6].min()) / 1.3, 1.3 * most)
    else:
        axes.set_xlim(-0.04 * most, 1.05 * most)
    set_ticks_across(axes, logarithmic)
