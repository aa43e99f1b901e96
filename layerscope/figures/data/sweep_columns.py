"""Runs, tasks and depth of a sweep, with the checks that a dataset is one."""

import numpy as np
import xarray as xr

from layerscope.datasets import require_variables
from layerscope.errors import UsageError, unknown_name

__all__ = ["column", "depth_of", "tasks_of"]

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
"""Dimensions of the variables of a sweep that figures read."""


def column(sweep: xr.Dataset, name: str) -> np.ndarray:
    """Return a variable over runs.

    Raises
    ------
    UsageError
        This is no sweep, or it lacks the variable.
    """
    if not {"task", "run"} <= set(sweep.dims) or name not in sweep or sweep[name].dims != ("run",):
        raise UsageError(f"this is no sweep: it has no {name} of each run\nmake one with layerscope sweep")
    return np.asarray(sweep[name].values)


def depth_of(sweep: xr.Dataset) -> int:
    """Return the number of blocks T, which is the number of stages of the full model.

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
    """Return the names of one task or of all tasks.

    Raises
    ------
    UsageError
        This is no sweep, or it has no such task.
    """
    depth_of(sweep)
    if "task" not in sweep.coords:
        raise UsageError("this is no sweep: its tasks have no names\nmake one with layerscope sweep")
    require_variables(sweep, "sweep: make one with layerscope sweep, or ls.sweep", _DIMS, text=_TEXT)
    scored = int(sweep["examples"].max()) if "examples" in sweep else 0
    if scored > sweep.sizes.get("example", scored):
        raise UsageError(
            f"the dataset has {sweep.sizes['example']} of the {scored} examples that were scored\nselect all examples"
        )
    known = [str(name) for name in sweep["task"].values]
    if task is None:
        return known
    if task not in known:
        raise unknown_name("task of this sweep", task, known)
    return [task]
