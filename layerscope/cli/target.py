"""Where a command writes that is given no place, and small files of text."""

import re
from pathlib import Path

from layerscope.cache import cache_folder
from layerscope.outputs import replace_whole

__all__ = ["default_file", "of_texts", "write_text"]


def default_file(model: str, ending: str) -> Path:
    """Return where a result goes that is given no name: in the cache, named after the model."""
    name = Path(model).stem if model.endswith(".gguf") else model.strip("/").replace("/", "--")
    return cache_folder() / f"{name}--{ending}"


def of_texts(texts: str, schedule: str | None) -> str:
    """Return what the name of a file says of the texts a model ran on, and of the schedule unless it is the identity.

    Examples
    --------
    >>> of_texts("builtin:passages", None), of_texts("some/stories.jsonl.gz", "skip:12")
    ('passages', 'stories--skip-12')
    """
    name = Path(texts.split(":")[-1]).name.split(".")[0]
    if schedule is None or schedule == "identity":
        return name
    return name + "--" + re.sub(r"[^\w.=]+", "-", schedule).strip("-")[:80]


def write_text(text: str, path: Path) -> None:
    """Write a small text file, whole or not at all.

    Raises
    ------
    FileError
        When it cannot be written.
    """
    with replace_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")
