"""Where LayerScope keeps what it can make again: converted models, and captures without a name."""

import os
from pathlib import Path

__all__ = ["cache_root"]


def cache_root() -> Path:
    """Return the cache folder.

    ``LAYERSCOPE_CACHE`` if set; else ``cache/`` of the source checkout LayerScope runs from; else ``layerscope`` in the
    user's own cache folder.
    """
    if chosen := os.environ.get("LAYERSCOPE_CACHE"):
        return Path(chosen)
    checkout = Path(__file__).resolve().parent.parent
    if (checkout / "cache" / "README.md").is_file() and (checkout / "pyproject.toml").is_file():
        return checkout / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "layerscope"
