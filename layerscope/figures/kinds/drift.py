"""Draw loss against drift of the last state, a point a run."""

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes

from layerscope.arguments import checked
from layerscope.errors import MeasureError, unknown_name
from layerscope.figures.data.sweep_columns import column
from layerscope.figures.data.sweep_scores import Scores, sweep_scores
from layerscope.figures.parts.axes import set_ticks_across, set_value_axis
from layerscope.figures.parts.figure import Figure
from layerscope.figures.parts.grid import make_grid
from layerscope.figures.parts.legend_entries import hollow_entry, legend_entry, level_entry, size_entries
from layerscope.figures.parts.looks import in_order, task_looks, variant_look
from layerscope.figures.parts.markers import FULL, draw_level, draw_markers, size_by_affected
from layerscope.figures.parts.missing import mark_missing
from layerscope.figures.parts.style import inches, styled

__all__ = ["drift"]

_LABELS = {
    "drift_cosine": ["drift of the last state (1 − cosine)", "drift (1 − cosine)", "1 − cosine"],
    "drift_norm": ["drift of the last state (relative norm)", "drift (relative norm)", "relative norm"],
    "drift_cka": ["drift of the last state (1 − CKA)", "drift (1 − CKA)", "1 − CKA"],
}
"""Names of each drift on its axis, longest first."""

_FACTOR = 30.0  # the axis of drifts that span more is logarithmic


@checked
@styled
def drift(
    dataset: xr.Dataset, drift: str = "drift_cosine", *, task: str | None = None, width: str | float = "double"
) -> Figure:
    """Draw loss against drift, a point a run, to show whether drift of the last state predicts the loss.

    There is a panel for each task, with the rank correlation (Spearman) over runs and its interval from the sweep. Colour and
    marker show the variant, size the number of affected blocks (M). Points are hollow where accuracy is not above chance. The
    loss of the full model is a dashed level. Drifts that span more than a factor of 30 have a logarithmic axis, without the
    runs of zero drift.

    Parameters
    ----------
    dataset
        A sweep.
    drift
        ``drift_cosine``, ``drift_norm`` or ``drift_cka``, all of the last state before the final norm, between the run and the
        full model on the same tokens.
    task
        One task; all by default.
    width
        ``double`` (up to three panels in a row), ``single`` (two) or inches.

    Raises
    ------
    UsageError
        It is no sweep; there is no such drift or task; `width` is invalid.
    MeasureError
        The sweep lacks this drift.

    Examples
    --------
    >>> from layerscope.figures.data.synthetic_sweep import example_sweep
    >>> figure = drift(example_sweep())
    >>> figure.axes[0].get_xlabel()
    'drift of the last state (1 − cosine)'
    """
    if drift not in _LABELS:
        raise unknown_name("drift", drift, _LABELS)
    names = sweep_scores(dataset, "loss", task).tasks
    if drift not in dataset or not np.isfinite(dataset[drift].sel(task=list(names))).any():
        raise MeasureError(f"the sweep holds no {drift}: sweep again, or draw another of {', '.join(_LABELS)}")
    scores = [sweep_scores(dataset, "loss", name) for name in names]
    drifts = [np.asarray(dataset[drift].sel(task=name).values, dtype=np.float64) for name in names]
    all_drifts = np.concatenate(drifts)
    logarithmic = _spans_much(all_drifts)
    variants, affected = column(dataset, "variant"), column(dataset, "affected")
    shown = [name for name in in_order(map(str, variants)) if name != "identity"]
    sizes = size_by_affected(affected.astype(np.float64), int(affected.max()))
    hollow = any(of_task.above is not None and (of_task.above[1:] == 0).any() for of_task in scores)
    groups = [
        [*(legend_entry(variant_look(name), joined=False) for name in shown), level_entry(FULL)],
        [*size_entries(affected), *([hollow_entry(False)] if hollow else [])],
    ]
    alone = len(names) == 1
    titles = [_title(dataset, look.name, name, drift, alone) for name, look in task_looks(names).items()]
    grid = make_grid(inches(width), titles, groups, height=0.7 if alone else 0.85, shared=False)
    for axes, of_task, its_drifts in zip(grid.places, scores, drifts, strict=True):
        for variant in sorted(shown, key=lambda name: -int((variants == name).sum())):  # variants with few runs on top
            _scatter(axes, variant, its_drifts, of_task, np.flatnonzero(variants == variant), sizes)
        mark_missing(axes, its_drifts)
        draw_level(axes, float(of_task.values[0]), FULL)
        set_value_axis(axes)
        _set_drift_axis(axes, all_drifts, logarithmic)
    grid.name_axes(_LABELS[drift], scores[0].quantity.names, shared=False)
    return grid.figure


def _spans_much(drifts: Float[np.ndarray, " any"]) -> bool:
    """Return whether non-zero drifts, apart from rounding errors, span more than a linear axis shows."""
    some = drifts[np.isfinite(drifts) & (drifts > 1e-6)]
    return some.size > 0 and float(some.max() / np.percentile(some, 5)) > _FACTOR


def _scatter(axes: Axes, variant: str, drifts: np.ndarray, scores: Scores, runs: np.ndarray, sizes: np.ndarray) -> None:
    runs = runs[np.isfinite(drifts[runs]) & np.isfinite(scores.values[runs])]
    draw_markers(axes, drifts[runs], scores.values[runs], variant_look(variant), scores.filled[runs], sizes[runs])


def _title(dataset: xr.Dataset, name: str, task: str, drift: str, alone: bool) -> str:
    """Return the name of the task, and the rank correlation with its interval."""
    lines = [] if alone else [name]
    if "rank_correlation" in dataset and "drift" in dataset["rank_correlation"].coords:
        place = {"task": task, "drift": drift}
        value, low, high = (
            float(dataset[variable].sel(place)) if variable in dataset else float("nan")
            for variable in ("rank_correlation", "rank_correlation_low", "rank_correlation_high")
        )
        if np.isfinite(value):
            interval = f" [{low:.2f}, {high:.2f}]" if np.isfinite(low) and np.isfinite(high) else ""
            lines.append(f"Spearman ρ = {value:.2f}{interval}".replace("-", "−"))
    return "\n".join(lines)


def _set_drift_axis(axes: Axes, drifts: Float[np.ndarray, " any"], logarithmic: bool) -> None:
    """Set the axis of drifts, equal in all panels."""
    most = float(np.nanmax(drifts)) or 1.0  # any scale if all drifts are 0
    if logarithmic:
        axes.set_xscale("log")
        axes.set_xlim(float(drifts[drifts > 1e-6].min()) / 1.3, 1.3 * most)
    else:
        axes.set_xlim(-0.04 * most, 1.05 * most)
    set_ticks_across(axes, logarithmic)
