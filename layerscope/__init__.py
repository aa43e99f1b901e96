"""LayerScope: capture hidden states of transformers, measure layer similarity, and run layer schedules.

All public names are available here. They load on first use, so ``import layerscope`` is fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from layerscope.version import __version__

if TYPE_CHECKING:
    from layerscope import figures
    from layerscope.capturing.capture import capture
    from layerscope.capturing.forecast import forecast
    from layerscope.citing import cite
    from layerscope.cross_model.layer_matching import best_match
    from layerscope.cross_model.scaling import scaling
    from layerscope.cross_model.training import over_training
    from layerscope.evaluation.evaluate import evaluate
    from layerscope.evaluation.sweep import sweep
    from layerscope.evaluation.sweep_grid import sweep_grid
    from layerscope.execution.generation import generate
    from layerscope.execution.scheduled import scheduled
    from layerscope.measures.analysis import analyze
    from layerscope.measures.model_analysis import analyze_model
    from layerscope.measures.shortcuts import compare, similarity, statistics
    from layerscope.models.loading import load_model
    from layerscope.results import read_analysis as open_analysis
    from layerscope.results import read_scaling as open_scaling
    from layerscope.results import read_sweep as open_sweep
    from layerscope.schedules import variants
    from layerscope.segmentation.segmentation import segment
    from layerscope.store.opening import open_capture

_HOME = {
    "analyze": "layerscope.measures.analysis:analyze",
    "analyze_model": "layerscope.measures.model_analysis:analyze_model",
    "best_match": "layerscope.cross_model.layer_matching:best_match",
    "capture": "layerscope.capturing.capture:capture",
    "cite": "layerscope.citing:cite",
    "compare": "layerscope.measures.shortcuts:compare",
    "evaluate": "layerscope.evaluation.evaluate:evaluate",
    "figures": "layerscope.figures",
    "forecast": "layerscope.capturing.forecast:forecast",
    "generate": "layerscope.execution.generation:generate",
    "load_model": "layerscope.models.loading:load_model",
    "open_analysis": "layerscope.results:read_analysis",
    "open_capture": "layerscope.store.opening:open_capture",
    "open_scaling": "layerscope.results:read_scaling",
    "open_sweep": "layerscope.results:read_sweep",
    "over_training": "layerscope.cross_model.training:over_training",
    "scaling": "layerscope.cross_model.scaling:scaling",
    "scheduled": "layerscope.execution.scheduled:scheduled",
    "segment": "layerscope.segmentation.segmentation:segment",
    "similarity": "layerscope.measures.shortcuts:similarity",
    "statistics": "layerscope.measures.shortcuts:statistics",
    "sweep": "layerscope.evaluation.sweep:sweep",
    "sweep_grid": "layerscope.evaluation.sweep_grid:sweep_grid",
    "variants": "layerscope.schedules.variants",
}
"""The location of each public name: a module, or ``module:name``."""

__all__ = [
    "__version__",
    "analyze",
    "analyze_model",
    "best_match",
    "capture",
    "cite",
    "compare",
    "evaluate",
    "figures",
    "forecast",
    "generate",
    "load_model",
    "open_analysis",
    "open_capture",
    "open_scaling",
    "open_sweep",
    "over_training",
    "scaling",
    "scheduled",
    "segment",
    "similarity",
    "statistics",
    "sweep",
    "sweep_grid",
    "variants",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'layerscope' has no attribute {name!r}")
    module, _, member = _HOME[name].partition(":")
    home = import_module(module)
    return getattr(home, member) if member else home


def __dir__() -> list[str]:
    return sorted(__all__)
