"""Write a figure to a file: PDF, SVG or PNG, whole or not at all, the same bytes every time.

It knows figures and paths only.
"""

import os
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from layerscope.arguments import checked
from layerscope.errors import UsageError
from layerscope.figures.parts.style import applied
from layerscope.outputs import replace_whole

__all__ = ["FORMATS", "save"]

# Dates and versions out: the same figure is the same file.
FORMATS: dict[str, dict[str, Any]] = {
    ".pdf": {"Creator": "LayerScope", "Producer": None, "CreationDate": None},
    ".svg": {"Creator": "LayerScope", "Date": None},
    ".png": {"Software": "LayerScope"},
}


@checked
def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure; the suffix of the path says how.

    It is written beside its place under another name and then renamed, so that a figure that exists is whole. A file
    already there is replaced.

    Raises
    ------
    UsageError
        The suffix is not ``.pdf``, ``.svg`` or ``.png``; the path is a folder, or its folder does not exist.
    FileError
        It cannot be written.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     save(Figure(), f"{folder}/empty.svg").name
    'empty.svg'
    """
    target = Path(path)
    if target.suffix.lower() not in FORMATS:
        raise UsageError(
            f"{target}: a figure is written as .pdf, .svg or .png, not {target.suffix or 'without a suffix'}"
        )
    if target.is_dir():
        raise UsageError(f"{target} is a folder: give the name of a file in it")
    if not target.parent.is_dir():
        raise UsageError(f"{target}: the folder {target.parent} does not exist: make it first")
    kind = target.suffix.lower()
    with replace_whole(target) as partial, applied():
        figure.savefig(partial, format=kind[1:], metadata=FORMATS[kind])
    return target
