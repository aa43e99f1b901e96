"""How far the last state drifts, against what the loss becomes: a point a run.

A sweep in, a figure out.
"""

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from layerscope.errors import MeasureError, unknown_name
from layerscope.figures.canvas import Figure, size_of
from layerscope.figures.grids import make_grid, set_value_axis, written
from layerscope.figures.keys import hollow_entry, key_entry, level_entry, size_entry
from layerscope.figures.marks import FULL, LOOKS, draw_level, marker_size, task_looks
from layerscope.figures.scores import Scores, column, scores
from layerscope.figures.style import applied, inches

__all__ = ["DRIFTS", "drift"]

DRIFTS = {
    "drift_cosine": ["drift of the last state (1 − cosine)", "drift (1 − cosine)", "1 − cosine"],
    "drift_norm": ["drift of the last state (relative norm)", "drift (relative norm)", "relative norm"],
    "drift_cka": ["drift of the last state (1 − CKA)", "drift (1 − CKA)", "1 − CKA"],
}
"""Each drift, and how it is called, longest first."""

_LEAST, _MOST = 2.2, 4.8  # points: markers of runs that affect one block and all
_FACTOR = 30.0  # on a logarithmic axis where the drifts span more
_TICK_APART = 0.34
_EDGE = 0.5


def drift(
    dataset: xr.Dataset, drift: str = "drift_cosine", *, task: str | None = None, width: str | float = "double"
) -> Figure:
    """Draw loss against drift, a point a run: whether what the last state loses is what the task loses.

    A panel a task, with Spearman's rank correlation over runs and its interval as the sweep has them. Colour and
    marker say the variant, size how many blocks are affected; hollow points are runs whose accuracy is not above chance.
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
        ``double`` (6.9 inches, up to three panels in a row), ``single`` (3.33, two) or inches.

    Raises
    ------
    UsageError
        It is no sweep; there is no such drift or task; `width` is impossible.
    MeasureError
        The sweep holds not this drift.

    Examples
    --------
    >>> runs = {"variant": ["identity", "skip", "skip"], "start": [-1, 1, 0], "loops": [-1, -1, -1]}
    >>> runs |= {"seed": [-1, -1, -1], "affected": [0, 1, 3], "stages": [4, 3, 1]}
    >>> columns = {name: ("run", values) for name, values in runs.items()}
    >>> dataset = xr.Dataset({"loss": (("task", "run"), [[2.0, 2.4, 5.0]])}, {"task": ["builtin:cloze"], **columns})
    >>> dataset["drift_cosine"] = dataset["loss"] / 10 - 0.2
    >>> figure = drift(dataset)
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
    looks = task_looks(names)
    with applied():
        variants = column(dataset, "variant")
        shown = [name for name in LOOKS if name != "identity" and name in variants]
        affected = column(dataset, "affected")
        most = max(int(affected.max()), 1)
        sizes = [
            size_entry(f"{count} affected", _size(float(count), most)) for count in sorted({1, (most + 1) // 2, most})
        ]
        hollow = any(of_task.above is not None and (of_task.above[1:] == 0).any() for of_task in found)
        groups = [
            [*(key_entry(LOOKS[name], joined=False) for name in shown), level_entry(FULL)],
            [*sizes, *([hollow_entry(False)] if hollow else [])],
        ]
        titles = [_title(dataset, looks[name].name, name, drift, alone=len(names) == 1) for name in names]
        grid = make_grid(inches(width), titles, groups, height=0.85 if len(names) > 1 else 0.7, shared=False)
        for axes, of_task, its_drift in zip(grid.places, found, moved, strict=True):
            for variant in sorted(shown, key=lambda name: -int((variants == name).sum())):  # the few over the many
                _scatter(axes, variant, its_drift, of_task, np.flatnonzero(variants == variant), affected / most)
            draw_level(axes, float(of_task.values[0]), FULL)
            set_value_axis(axes)
            _set_drift_axis(axes, np.concatenate(moved), logarithmic)
        grid.name_axes(DRIFTS[drift], ["loss (nats per token)", "loss"], shared=False)
    return grid.figure


def _spans_much(moved: Float[np.ndarray, " any"]) -> bool:
    """Tell whether drifts that are any span more than linear axes show; rounding alone is none."""
    some = moved[np.isfinite(moved) & (moved > 1e-6)]
    return some.size > 0 and float(some.max() / np.percentile(some, 5)) > _FACTOR


def _size(affected: float, most: int) -> float:
    return _LEAST + (_MOST - _LEAST) * max(affected, 0.0) / most


def _scatter(axes: Axes, variant: str, moved: np.ndarray, found: Scores, runs: np.ndarray, share: np.ndarray) -> None:
    """Draw the runs of a variant, the large ones first, so that none hides a small one."""
    look = LOOKS[variant]
    runs = runs[np.isfinite(moved[runs]) & np.isfinite(found.values[runs])]
    runs = runs[np.argsort(-share[runs], kind="stable")]
    above = np.ones(len(runs)) if found.above is None else np.nan_to_num(found.above[runs], nan=1.0)
    axes.scatter(
        moved[runs],
        found.values[runs],
        s=[marker_size(look, _size(float(part), 1)) ** 2 for part in share[runs]],
        marker=look.marker,
        facecolors=[look.colour if filled else "white" for filled in above],
        edgecolors=look.colour,
        linewidths=_EDGE,
        alpha=0.85,
        label=f"_{look.name}",
        zorder=2.0,
    )


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
    most = float(np.nanmax(moved))
    nbins = max(2, int(size_of(axes)[0] / _TICK_APART))
    if logarithmic:
        axes.set_xscale("log")
        least = float(np.percentile(moved[moved > 1e-6], 1)) / 1.3
        axes.set_xlim(least, 1.3 * most)
        decades = np.log10(1.3 * most / least)
        within = (1.0, 2.0, 5.0) if nbins > 4 * decades else (1.0, 3.0) if nbins > 2.5 * decades else (1.0,)
        axes.xaxis.set_major_locator(LogLocator(subs=within, numticks=nbins))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.set_xlim(-0.04 * most, 1.05 * most)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=nbins, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value)))
