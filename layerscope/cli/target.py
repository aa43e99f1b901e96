"""Where a command writes that is given no place, and small files of text."""

from pathlib import Path

from layerscope.cache import cache_folder
from layerscope.errors import FileError

__all__ = ["default_file", "texts_name", "write_text"]


def default_file(model: str, ending: str) -> Path:
    """Return where a result goes that is given no name: in the cache, named after the model."""
    name = Path(model).stem if model.endswith(".gguf") else model.strip("/").replace("/", "--")
    return cache_folder() / f"{name}--{ending}"


def texts_name(texts: str) -> str:
    """Return the part of a source of texts that goes into the name of a file.

    Examples
    --------
    >>> texts_name("builtin:passages"), texts_name("some/stories.jsonl.gz")
    ('passages', 'stories')
    """
    return Path(texts.split(":")[-1]).name.split(".")[0]


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
