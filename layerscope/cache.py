"""Find the cache folder, which holds converted models and captures without an output name."""

import os
from pathlib import Path

from layerscope.errors import UsageError

__all__ = ["cache_folder", "cache_root"]

_ELSEWHERE = "set LAYERSCOPE_CACHE to a folder that can be created and written"


def cache_root() -> Path:
    """Return the cache folder.

    ``LAYERSCOPE_CACHE`` if set; else ``cache/`` of the source checkout LayerScope runs from; else ``layerscope`` in the
    user's cache folder.
    """
    if chosen := os.environ.get("LAYERSCOPE_CACHE"):
        return Path(chosen)
    checkout = Path(__file__).resolve().parent.parent
    if (checkout / "cache" / "README.md").is_file() and (checkout / "pyproject.toml").is_file():
        return checkout / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "layerscope"


def cache_folder(*parts: str) -> Path:
    """Return a folder of the cache, created if missing.

    Raises
    ------
    UsageError
        The folder cannot be created or written.
    """
    folder = cache_root().joinpath(*parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cache folder {folder}: {error.strerror}; {_ELSEWHERE}") from error
    if not os.access(folder, os.W_OK):
        raise UsageError(f"cache folder {folder}: cannot be written; {_ELSEWHERE}")
    return folder
