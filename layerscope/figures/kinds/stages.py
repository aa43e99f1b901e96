"""Draw variance and drift of the residual stream after each stage of some runs."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from layerscope.arguments import checked
from layerscope.errors import MeasureError, UsageError, unknown_name
from layerscope.figures.data.sweep_columns import column, depth_of, tasks_of
from layerscope.figures.parts.axes import set_value_axis, set_whole_axis
from layerscope.figures.parts.figure import Figure
from layerscope.figures.parts.grid import make_grid
from layerscope.figures.parts.legend_entries import legend_entry
from layerscope.figures.parts.looks import LOOKS, Look, variant_look
from layerscope.figures.parts.markers import draw_points
from layerscope.figures.parts.missing import mark_missing
from layerscope.figures.parts.style import inches, styled

__all__ = ["stages"]

_PANELS = {
    "variance_stage": "variance over tokens",
    "drift_cosine_stage": "drift (1 − cosine)",
}
_PAIR = ("skip", "middle_repeat")
_SMALL = 2.2  # points
_MOST = 8


@checked
@styled
def stages(
    dataset: xr.Dataset,
    schedule: str | Sequence[str] = (),
    *,
    task: str | None = None,
    width: str | float = "double",
) -> Figure:
    """Draw variance and drift of the residual stream after each stage of some runs (after the paper's Fig. 15).

    The axis is the state of the full model that each stage is compared with (``reference_state``). Values of a run and of the
    full model for the same layer are therefore above each other, and lines are straight across skipped blocks.
    ``variance_stage`` is the variance over tokens, averaged over features; the drift is ``drift_cosine_stage``. Neither
    measures accuracy.

    Parameters
    ----------
    dataset
        A sweep.
    schedule
        Schedules of up to 8 runs, as the sweep names them. By default skip and middle repeat with the same start, whose number of
        affected blocks is closest to half the depth.
    task
        One task; the first by default.
    width
        ``double``, ``single`` or inches.

    Raises
    ------
    UsageError
        It is no sweep; there is no such run or task; there are more than 8; `width` is invalid.
    MeasureError
        The sweep has neither variance nor drift of each stage, or no skip and middle repeat with the same start.

    Examples
    --------
    >>> from layerscope.figures.data.synthetic_sweep import example_sweep
    >>> figure = stages(example_sweep(), ["skip:0"])
    >>> [axes.get_title(loc="left") for axes in figure.axes]
    ['variance over tokens', 'drift (1 − cosine)']
    """
    name = tasks_of(dataset, task)[0]
    panels = [panel for panel in _PANELS if panel in dataset and np.isfinite(dataset[panel].sel(task=name)).any()]
    if not panels or "reference_state" not in dataset:
        raise MeasureError(f"the sweep holds nothing of each stage for {name}: draw another --task, or sweep again")
    runs = _chosen(dataset, [schedule] if isinstance(schedule, str) else list(schedule))
    looks = _looks(dataset, runs)
    grid = make_grid(inches(width), [_PANELS[panel] for panel in panels], [[*map(legend_entry, looks)]], shared=False)
    states = dataset["reference_state"].transpose("run", "stage").values
    for axes, panel in zip(grid.places, panels, strict=True):
        values = dataset[panel].sel(task=name).transpose("run", "stage").values.astype(np.float64)
        for run, look in zip(runs, looks, strict=True):
            along = np.where(np.isfinite(values[run]), states[run], np.nan).astype(np.float64)
            kept = np.isfinite(along)
            draw_points(axes, along[kept], values[run][kept], look, np.ones(kept.sum(), bool), size=_SMALL)
        mark_missing(axes, values[runs])
        set_value_axis(axes, logarithmic=panel == "variance_stage")
        set_whole_axis(axes, 1, depth_of(dataset))
    grid.name_axes(["layer of the full model", "layer"], [""], shared=False)
    return grid.figure


def _chosen(dataset: xr.Dataset, specs: list[str]) -> list[int]:
    """Return the full model and the requested runs."""
    known = [str(spec) for spec in column(dataset, "schedule")]
    for spec in specs:
        if spec not in known:
            raise unknown_name("schedule of this sweep", spec, known)
    if len(specs) > _MOST:
        raise UsageError(f"{len(specs)} schedules: a figure of stages holds at most {_MOST}, give fewer")
    return list(dict.fromkeys([0, *(known.index(spec) for spec in specs or _pair(dataset))]))


def _pair(dataset: xr.Dataset) -> list[str]:
    """Return the schedules of skip and middle repeat with the same start."""
    variant, start, affected, spec = (column(dataset, name) for name in ("variant", "start", "affected", "schedule"))
    of_start = {name: dict(zip(start[variant == name], spec[variant == name], strict=True)) for name in _PAIR}
    count = dict(zip(start, affected, strict=True))
    both = set(of_start["skip"]) & set(of_start["middle_repeat"])
    if not both:
        raise MeasureError(
            "the sweep holds no skip and middle_repeat with the same start: name its runs with --schedule\n"
            "or run layerscope sweep with --variants skip,middle_repeat"
        )
    half = depth_of(dataset) / 2
    chosen = min(both, key=lambda number: (abs(int(count[number]) - half), int(number)))
    return [str(of_start[name][chosen]) for name in _PAIR]


def _looks(dataset: xr.Dataset, runs: list[int]) -> list[Look]:
    """Return the look of each run: that of its variant or, if another run has it, of a variant that is not drawn."""
    variant, spec = column(dataset, "variant"), column(dataset, "schedule")
    free = [name for name in LOOKS if name not in set(variant[runs])]
    looks: list[Look] = []
    for run in runs:
        look = variant_look(str(variant[run]))
        if look.colour in [other.colour for other in looks]:
            look = LOOKS[free.pop(0)]
        looks.append(Look("full model" if run == 0 else str(spec[run]), look.colour, look.marker))
    return looks
