"""Figures for papers: arrays in, matplotlib out.

Of an analysis: `heatmap`, `panel`, `profile`, `match`. Of checkpoints: `training`. Of models of several sizes: `scaling`. Of a
sweep: `sweep`, `tasks`, `single`, `loops`, `drift`, `stages`, `latency`.

- `heatmap`: one matrix over pairs of layers, with its segments;
- `panel`: the four cosines side by side on one scale;
- `profile`: the per-layer statistics over depth;
- `match`: between two captures, the depth at which each layer has its best match;
- `training`: each layer against itself at the end of training;
- `scaling`: the heatmaps of models of several sizes, and how many layers their segments have;
- `sweep`, `tasks`: what each variant costs against the number of affected blocks, together and task by task;
- `single`: what a single block is worth; `loops`: how often a parallel stage should run;
- `drift`: loss against drift of the last state; `stages`: variance and drift after each stage of some runs;
- `latency`: score or loss against sequential stages;
- `save`: write any of them as PDF, SVG or PNG.

Every figure is a `layerscope.figures.parts.figure.Figure`, a matplotlib figure that shows itself in a notebook, opens no
window and looks the same whatever the user's own matplotlib settings. Nothing here knows models, torch or captures.
matplotlib loads on first use.
"""

from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerscope.arguments import checked

if TYPE_CHECKING:
    from layerscope.figures.kinds.drift import drift
    from layerscope.figures.kinds.heatmap import heatmap
    from layerscope.figures.kinds.latency import latency
    from layerscope.figures.kinds.loops import loops
    from layerscope.figures.kinds.match import match
    from layerscope.figures.kinds.panel import panel
    from layerscope.figures.kinds.profile import profile
    from layerscope.figures.kinds.scaling import scaling
    from layerscope.figures.kinds.single import single
    from layerscope.figures.kinds.stages import stages
    from layerscope.figures.kinds.sweep import sweep
    from layerscope.figures.kinds.tasks import tasks
    from layerscope.figures.kinds.training import training

_HOME = {
    "drift": "layerscope.figures.kinds.drift",
    "heatmap": "layerscope.figures.kinds.heatmap",
    "latency": "layerscope.figures.kinds.latency",
    "loops": "layerscope.figures.kinds.loops",
    "match": "layerscope.figures.kinds.match",
    "panel": "layerscope.figures.kinds.panel",
    "profile": "layerscope.figures.kinds.profile",
    "scaling": "layerscope.figures.kinds.scaling",
    "single": "layerscope.figures.kinds.single",
    "stages": "layerscope.figures.kinds.stages",
    "sweep": "layerscope.figures.kinds.sweep",
    "tasks": "layerscope.figures.kinds.tasks",
    "training": "layerscope.figures.kinds.training",
}

__all__ = [
    "drift",
    "heatmap",
    "latency",
    "loops",
    "match",
    "panel",
    "profile",
    "save",
    "scaling",
    "single",
    "stages",
    "sweep",
    "tasks",
    "training",
]


@checked
def save(figure: Any, path: str | PathLike[str]) -> Path:
    """Write a figure as PDF, SVG or PNG: `layerscope.figures.saving.save`."""
    # No lazy name like the others: nnsight, once it runs, gives every object a `save`, this module too, and a module's
    # `__getattr__` is only asked for what an object has not.
    from layerscope.figures.saving import save

    return save(figure, path)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'layerscope.figures' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
