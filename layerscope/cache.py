"""The cache folder: converted models, and captures without an output name."""

import os
from pathlib import Path

from layerscope.errors import UsageError

__all__ = ["cache_folder", "cache_root"]

_ELSEWHERE = "let LAYERSCOPE_CACHE name a folder that can be made and written"


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


def cache_folder(*parts: str) -> Path:
    """Return a folder of the cache, made if it is not there.

    Raises
    ------
    UsageError
        It cannot be made, or nothing can be written in it.
    """
    folder = cache_root().joinpath(*parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cache folder {folder}: {error.strerror}; {_ELSEWHERE}") from error
    if not os.access(folder, os.W_OK):
        raise UsageError(f"cache folder {folder}: cannot be written; {_ELSEWHERE}")
    return folder
