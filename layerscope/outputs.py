"""Where a result may be written: asked before any work is done. Knows paths; knows no format."""

import os
from pathlib import Path

from layerscope.errors import UsageError

__all__ = ["new_file", "writable"]


def writable(path: Path) -> Path:
    """Return `path` if a file may be written there.

    Raises
    ------
    UsageError
        The path is a directory, or its folder is missing or cannot be written.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a directory: give a file name to --output")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}: make it, or give another --output")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"{path}: the folder {path.parent} cannot be written: give another --output")
    return path


def new_file(path: Path, overwrite: bool) -> Path:
    """Return `path` if a file may be written there and none is, unless it is to be replaced.

    Raises
    ------
    UsageError
        The path cannot be written, or exists and is not to be replaced.
    """
    if writable(path).exists() and not overwrite:
        raise UsageError(f"{path} exists already: give --overwrite to replace it, or another --output")
    return path
