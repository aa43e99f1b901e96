"""Draw figures for papers with matplotlib.

`layerscope.figures.catalogue` lists the kinds and what each shows. One function a kind takes an array or a dataset and returns a
`layerscope.figures.parts.figure.Figure`: a matplotlib figure that displays itself in a notebook, opens no window, and looks
the same under any matplotlib settings. `save` writes it as PDF, SVG or PNG.

The package imports no torch, no models and no captures. matplotlib is loaded on first use.
"""

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerscope.arguments import checked
from layerscope.figures.catalogue import FIGURES

if TYPE_CHECKING:  # types for editors and mypy; at run time `__getattr__` imports a kind on first use
    from layerscope.figures.kinds.contributions import contributions as contributions
    from layerscope.figures.kinds.drift import drift as drift
    from layerscope.figures.kinds.heatmap import heatmap as heatmap
    from layerscope.figures.kinds.latency import latency as latency
    from layerscope.figures.kinds.loops import loops as loops
    from layerscope.figures.kinds.match import match as match
    from layerscope.figures.kinds.panel import panel as panel
    from layerscope.figures.kinds.profile import profile as profile
    from layerscope.figures.kinds.scaling import scaling as scaling
    from layerscope.figures.kinds.single import single as single
    from layerscope.figures.kinds.stages import stages as stages
    from layerscope.figures.kinds.streams import streams as streams
    from layerscope.figures.kinds.sweep import sweep as sweep
    from layerscope.figures.kinds.tasks import tasks as tasks
    from layerscope.figures.kinds.training import training as training

__all__ = sorted([*FIGURES, "save"])


@checked
def save(figure: Any, path: str | PathLike[str]) -> Path:
    """Write a figure as PDF, SVG or PNG: `layerscope.figures.saving.save`."""
    # Defined here and not imported on demand: nnsight gives every object, this module included, an attribute `save`, and
    # Python calls a module's `__getattr__` only for missing attributes.
    from layerscope.figures.saving import save

    return save(figure, path)


def __getattr__(name: str) -> Any:
    if name not in FIGURES:
        raise AttributeError(f"module 'layerscope.figures' has no attribute {name!r}")
    return FIGURES[name].function


def __dir__() -> list[str]:
    return sorted(__all__)
