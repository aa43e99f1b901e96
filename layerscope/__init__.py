"""LayerScope: what happens between the layers of a transformer.

Everything public is reached from here and loads on first use, so that ``import layerscope`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from layerscope.version import __version__

if TYPE_CHECKING:
    from layerscope import figures
    from layerscope.capturing.capture import capture
    from layerscope.measures.analysis import analyze
    from layerscope.models.loading import load_model
    from layerscope.store.reader import open_capture
    from layerscope.structure.segmentation import segment

_HOME = {
    "analyze": "layerscope.measures.analysis",
    "capture": "layerscope.capturing.capture",
    "load_model": "layerscope.models.loading",
    "open_capture": "layerscope.store.reader",
    "segment": "layerscope.structure.segmentation",
}

__all__ = ["__version__", "analyze", "capture", "figures", "load_model", "open_capture", "segment"]


def __getattr__(name: str) -> Any:
    if name == "figures":
        return import_module("layerscope.figures")
    if name not in _HOME:
        raise AttributeError(f"module 'layerscope' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
