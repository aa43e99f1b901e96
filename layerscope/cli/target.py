"""Default output files of the commands, and writing small text files."""

import re
from pathlib import Path

from layerscope.cache import cache_folder
from layerscope.outputs import replace_whole

__all__ = ["default_file", "of_texts", "write_text"]


def default_file(model: str, ending: str) -> Path:
    """Return the default file of a result: in the cache, named after the model."""
    name = Path(model).stem if model.endswith(".gguf") else model.strip("/").replace("/", "--")
    return cache_folder() / f"{name}--{ending}"


def of_texts(texts: str, schedule: str | None) -> str:
    """Return the part of a file name for the texts, and for the schedule unless it is the identity.

    Examples
    --------
    >>> of_texts("builtin:passages", None), of_texts("some/stories.jsonl.gz", "skip:12")
    ('passages', 'stories--skip-12')
    """
    name = "stdin" if texts == "-" else Path(texts.split(":")[-1]).name.split(".")[0]
    if schedule is None or schedule == "identity":
        return name
    return name + "--" + re.sub(r"[^\w.=]+", "-", schedule).strip("-")[:80]


def write_text(text: str, path: Path) -> None:
    """Write a small text file atomically.

    Raises
    ------
    FileError
        The file cannot be written.
    """
    with replace_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")
