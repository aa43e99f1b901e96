"""Where a result may be written: asked before any work is done. Knows paths; knows no format."""

import os
from pathlib import Path

from layerscope.errors import UsageError

__all__ = ["new_file", "writable"]


def writable(path: Path, *inputs: object) -> Path:
    """Return `path` if a file may be written there: it must be none of the inputs, of which those count that are files.

    Raises
    ------
    UsageError
        The path is a directory or an input, or its folder is missing or cannot be written.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a directory: give a file name to --output")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}: make it, or give another --output")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"{path}: the folder {path.parent} cannot be written: give another --output")
    for one in inputs:
        if isinstance(one, str | os.PathLike) and os.path.exists(one) and path.exists() and path.samefile(one):
            raise UsageError(f"{path} exists already and is read by this very command: give another --output")
    return path


def new_file(path: Path, overwrite: bool, *inputs: object) -> Path:
    """Return `path` if a file may be written there and none is, unless it is to be replaced; an input never is.

    Raises
    ------
    UsageError
        The path cannot be written, or exists and is not to be replaced.
    """
    if writable(path, *inputs).exists() and not overwrite:
        raise UsageError(f"{path} exists already: give --overwrite to replace it, or another --output")
    return path
