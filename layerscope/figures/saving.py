"""Write a figure to a file, atomically and with the same bytes every time."""

import os
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from layerscope.arguments import checked
from layerscope.errors import UsageError
from layerscope.figures.parts.mathtext import check_texts
from layerscope.figures.parts.style import applied
from layerscope.outputs import replace_whole

__all__ = ["FORMATS", "save"]

# No dates and versions, so that the same figure is the same file.
FORMATS: dict[str, dict[str, Any]] = {
    ".pdf": {"Creator": "LayerScope", "Producer": None, "CreationDate": None},
    ".svg": {"Creator": "LayerScope", "Date": None},
    ".png": {"Software": "LayerScope"},
}


@checked
def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure in the format that the suffix of the path names.

    The file is written under a temporary name and then renamed, so a figure on disk is always complete. An existing file is
    replaced.

    Raises
    ------
    UsageError
        The suffix is not ``.pdf``, ``.svg`` or ``.png``; the path is a folder, or its folder does not exist; a text of the
        figure is invalid mathtext.
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
    kind = target.suffix.lower()
    if kind not in FORMATS:
        raise UsageError(
            f"{target}: a figure is written as .pdf, .svg or .png, not {target.suffix or 'without a suffix'}"
        )
    if target.is_dir():
        raise UsageError(f"{target} is a folder: give the name of a file in it")
    if not target.parent.is_dir():
        raise UsageError(f"{target}: the folder {target.parent} does not exist: make it first")
    with replace_whole(target) as partial, applied():
        try:
            figure.savefig(partial, format=kind[1:], metadata=FORMATS[kind])
        except ValueError:  # matplotlib's own, without a word about the text
            check_texts(figure, {"figure": figure})
            raise
    return target
