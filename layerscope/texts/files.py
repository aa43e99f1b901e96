r"""Read texts from ``.txt`` and ``.jsonl`` files, plain or gzipped, one line at a time.

Only ``\n`` or ``\r\n`` ends a line; other line separators of Unicode are part of the text. Files are therefore read in binary,
which also lets an error name its line. Blank texts are yielded too; the caller skips them.
"""

import gzip
import json
import os
import zlib
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager

from layerscope.errors import TextsError, UsageError, missing_file
from layerscope.texts.text import DEFAULT_FIELD, Text, text_from_record

__all__ = ["KNOWN", "file_reader", "read_json_lines", "read_plain_lines"]

KNOWN = (".txt", ".jsonl", ".txt.gz", ".jsonl.gz")

Stream = AbstractContextManager[Iterable[bytes]]
Opener = Callable[[], Stream]


def file_reader(path: str, field: str | None) -> Callable[[], Iterator[Text]]:
    """Return a function that reads the texts of `path` from the beginning.

    Raises
    ------
    TextsError
        The file is missing or a directory.
    UsageError
        The extension is unknown, or a field is given for plain lines.
    """
    if os.path.isdir(path):
        raise TextsError(f"{path} is a directory: give a file in it ({', '.join(KNOWN)})")
    lowered = path.lower()
    if not lowered.endswith(KNOWN):
        shown = path if len(path) <= 60 else path[:57] + "..."  # a text given instead of a list of texts
        raise UsageError(
            f"{shown!r}: not a source of texts; known: builtin:passages, hf:DATASET/SPLIT, files named {', '.join(KNOWN)}"
            "\n(texts themselves go in a list)"
        )
    if not os.path.exists(path):
        raise TextsError(missing_file(path))

    def opener() -> Stream:
        return gzip.open(path, "rb") if lowered.endswith(".gz") else open(path, "rb")

    if lowered.removesuffix(".gz").endswith(".jsonl"):
        return lambda: read_json_lines(opener, path, DEFAULT_FIELD if field is None else field)
    if field is not None:
        raise UsageError(f"{path}: plain lines have no field {field!r}; a field is for .jsonl and hf:")
    return lambda: read_plain_lines(opener, path)


def read_plain_lines(opener: Opener, name: str) -> Iterator[Text]:
    """Yield each line as a text; the id is its 0-based number."""
    for number, line in _lines(opener, name):
        yield Text(str(number), line)


def read_json_lines(opener: Opener, name: str, field: str) -> Iterator[Text]:
    """Yield the text of the JSON object in each line; an empty line is a blank text.

    Raises
    ------
    TextsError
        A line is not JSON, or not an object with a string in `field`. The message names the line.
    """
    for number, line in _lines(opener, name):
        if not line.strip():
            yield Text(str(number), "")
            continue
        place = f"{name}: line {number + 1}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:  # ValueError also covers numbers with thousands of digits
            reason = f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
            raise TextsError(f"{place}: malformed JSON ({reason}): each line must be one object") from error
        yield text_from_record(record, number, field, place)


def _lines(opener: Opener, name: str) -> Iterator[tuple[int, str]]:
    """Yield lines with their 0-based numbers; an error names the file and the line."""
    done = 0
    try:
        with opener() as stream:
            for number, raw in enumerate(stream):
                if number == 0:
                    raw = raw.removeprefix(BOM_UTF8)
                yield number, _decoded(raw.removesuffix(b"\n").removesuffix(b"\r"), f"{name}: line {number + 1}")
                done = number + 1
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise TextsError(
            f"{name}: gzip data are damaged after line {done} ({error}): fetch or compress the file again"
        ) from error
    except OSError as error:
        raise TextsError(f"{name}: cannot be read: {error.strerror or error}") from error


def _decoded(raw: bytes, place: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TextsError(
            f"{place}: not UTF-8 (byte 0x{raw[error.start]:02x}, byte {error.start + 1} of the line): "
            "convert the file to UTF-8"
        ) from error
