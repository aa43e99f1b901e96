"""Stream texts from a dataset of the Hugging Face hub, with the optional ``datasets`` library.

The library is imported when a dataset is opened, since it is an extra and slow to load.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from layerscope.errors import TextsError, UsageError
from layerscope.texts.text import DEFAULT_FIELD, Text, text_from_record

__all__ = ["hub_reader", "parse_hub_source"]

_FORM = re.compile(r"hf:([^/:\s]+(?:/[^/:\s]+)?)(?::([^/:\s]+))?/([^/:\s]+)")


def parse_hub_source(source: str) -> tuple[str, str | None, str]:
    """Split ``hf:DATASET[:CONFIG]/SPLIT`` into its parts.

    Raises
    ------
    UsageError
        The source does not have this form.

    Examples
    --------
    >>> parse_hub_source("hf:squad/train")
    ('squad', None, 'train')
    >>> parse_hub_source("hf:owner/name:english/test")
    ('owner/name', 'english', 'test')
    """
    form = _FORM.fullmatch(source)
    if form is None:
        raise UsageError(
            f"{source!r} is not of the form hf:DATASET/SPLIT, as in hf:owner/name/test or hf:owner/name:config/test"
        )
    dataset, config, split = form.groups()
    return str(dataset), config, str(split)


def hub_reader(source: str, field: str | None) -> Callable[[], Iterator[Text]]:
    """Return a function that streams the texts of a dataset from its first row.

    Raises
    ------
    UsageError
        The source is malformed.
    TextsError
        The library is missing, or the dataset cannot be opened.
    """
    name, config, split = parse_hub_source(source)
    rows = _load(source, name, config, split)
    return lambda: _read_rows(rows, source, DEFAULT_FIELD if field is None else field)


def _load(source: str, name: str, config: str | None, split: str) -> Iterable[Mapping[str, Any]]:
    try:
        import datasets
    except ModuleNotFoundError as error:
        if error.name != "datasets":
            raise
        raise TextsError(f"{source}: needs the datasets library: pip install 'layerscope[bench]'") from error
    try:
        rows: Iterable[Mapping[str, Any]] = datasets.load_dataset(name, config, split=split, streaming=True)
    except Exception as error:
        raise _unreadable(source, error) from error
    return rows


def _read_rows(rows: Iterable[Mapping[str, Any]], source: str, field: str) -> Iterator[Text]:
    remaining = iter(rows)
    number = 0
    while True:
        try:
            row = next(remaining)
        except StopIteration:
            return
        except Exception as error:
            raise _unreadable(f"{source}: row {number + 1}", error) from error
        yield text_from_record(row, number, field, f"{source}: row {number + 1}")
        number += 1


def _unreadable(place: str, error: Exception) -> TextsError:
    """Translate the many errors of the library, its file formats and the network."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return TextsError(
        f"{place}: cannot be read: {reason}.\n"
        "Check the name (DATASET/SPLIT) and the connection, or give the texts as a .jsonl file."
    )
