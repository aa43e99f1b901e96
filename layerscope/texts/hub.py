"""Read texts with the optional ``datasets`` library: from the Hugging Face hub, and from folders that the library has saved.

The library is imported when a dataset is opened, since it is an extra and slow to load.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from layerscope.errors import TextsError, UsageError
from layerscope.texts.records import TextFields, record_text
from layerscope.texts.text import Text

__all__ = ["hub_reader", "is_saved_dataset", "parse_hub_source", "saved_dataset_reader"]

_FORM = re.compile(r"hf:([^/:\s]+(?:/[^/:\s]+)?)(?::([^/:\s]+))?/([^/:\s]+)")
_OF_DATASET, _OF_SPLITS = "dataset_info.json", "dataset_dict.json"  # files that save_to_disk writes

Rows = Iterable[Mapping[str, Any]]


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


def hub_reader(source: str, fields: TextFields) -> Callable[[], Iterator[Text]]:
    """Return a function that streams the texts of a dataset of the hub from its first row.

    Raises
    ------
    UsageError
        The source is malformed.
    TextsError
        The library is missing, or the dataset cannot be opened.
    """
    name, config, split = parse_hub_source(source)
    remedy = "Check the name (DATASET/SPLIT) and the connection, or give the texts as a .jsonl file."
    rows = _load(source, remedy, lambda library: library.load_dataset(name, config, split=split, streaming=True))
    return lambda: _read_rows(rows, source, fields, remedy)


def is_saved_dataset(path: str) -> bool:
    """Return whether a path is a folder that ``save_to_disk`` of the library has written."""
    return any(os.path.isfile(os.path.join(path, name)) for name in (_OF_DATASET, _OF_SPLITS))


def saved_dataset_reader(path: str, fields: TextFields) -> Callable[[], Iterator[Text]]:
    """Return a function that reads the texts of a saved dataset from its first row.

    Raises
    ------
    TextsError
        The library is missing, the folder is damaged, or it holds several splits.
    """
    if os.path.isfile(os.path.join(path, _OF_SPLITS)):
        splits = sorted(entry.name for entry in Path(path).iterdir() if (entry / _OF_DATASET).is_file())
        raise TextsError(f"{path} holds the splits {', '.join(splits) or 'none'}: give one of them, as in {path}/SPLIT")
    remedy = "Save the dataset again with save_to_disk."
    rows = _load(path, remedy, lambda library: library.load_from_disk(path))
    return lambda: _read_rows(rows, path, fields, remedy)


def _load(place: str, remedy: str, load: Callable[[Any], Rows]) -> Rows:
    try:
        import datasets
    except ModuleNotFoundError as error:
        if error.name != "datasets":
            raise
        raise TextsError(f"{place}: needs the datasets library: pip install 'layerscope[bench]'") from error
    try:
        return load(datasets)
    except Exception as error:
        raise _unreadable(place, error, remedy) from error


def _read_rows(rows: Rows, source: str, fields: TextFields, remedy: str) -> Iterator[Text]:
    remaining = iter(rows)
    number = 0
    while True:
        place = f"{source}: row {number + 1}"
        try:
            row = next(remaining)
        except StopIteration:
            return
        except Exception as error:
            raise _unreadable(place, error, remedy) from error
        yield record_text(row, number, fields, place)
        number += 1


def _unreadable(place: str, error: Exception, remedy: str) -> TextsError:
    """Translate the many errors of the library, its file formats and the network."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return TextsError(f"{place}: cannot be read: {reason}.\n{remedy}")
