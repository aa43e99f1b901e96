"""Where a command may write."""

import os
from pathlib import Path

from layerscope.cache import cache_root
from layerscope.errors import FileError, UsageError

__all__ = ["default_file", "new_file", "write_text"]


def new_file(path: Path, overwrite: bool) -> Path:
    """Return `path` if a command may write a file there; asked before any work is done.

    Raises
    ------
    UsageError
        The path is a directory, exists and is not to be replaced, or its folder is missing or cannot be written.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a directory: give a file name to --output")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists already: give --overwrite to replace it, or another --output")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}: make it, or give another --output")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"{path}: the folder {path.parent} cannot be written: give another --output")
    return path


def default_file(model: str, ending: str) -> Path:
    """Return where a result goes that is given no name: in the cache, named after the model."""
    name = Path(model).stem if model.endswith(".gguf") else model.strip("/").replace("/", "--")
    folder = cache_root()
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}--{ending}"


def write_text(text: str, path: Path) -> None:
    """Write a small text file, whole or not at all.

    Raises
    ------
    FileError
        When it cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise FileError(f"{path} cannot be written: {error.strerror or error}") from error
