r"""Read texts from files of lines and of tables, plain or gzipped, and from standard input.

Only ``\n`` or ``\r\n`` ends a line; other line separators of Unicode are part of the text. Files are therefore read in binary,
which also lets an error name its line. Blank texts are yielded too; the caller skips them.
"""

import gzip
import json
import os
import re
import sys
import zlib
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import chain

from layerscope.errors import TextsError, UsageError, missing_file
from layerscope.texts.records import TextFields, record_text
from layerscope.texts.tables import read_delimited, read_parquet
from layerscope.texts.text import Text

__all__ = ["SPLITS", "STDIN", "file_reader", "read_json_lines", "read_plain_lines", "stdin_reader"]

STDIN = "-"
"""The source that is standard input."""

SPLITS = ("line", "blank-line")
"""What separates the texts of a plain file."""

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_LINES = (".txt", ".jsonl", *_DELIMITERS)
_ENDINGS = (*_LINES, *(f"{ending}.gz" for ending in _LINES), ".parquet")
_NAMED = f"{', '.join(_LINES)} (each also .gz) or .parquet"

Stream = AbstractContextManager[Iterable[bytes]]
Opener = Callable[[], Stream]
Reader = Callable[[], Iterator[Text]]


def file_reader(path: str, fields: TextFields, split: str) -> Reader:
    """Return a function that reads the texts of `path` from the beginning.

    Raises
    ------
    TextsError
        The file is missing or a directory.
    UsageError
        The extension is unknown, a field is named for plain lines, or a split for records.
    """
    if os.path.isdir(path):
        raise TextsError(
            f"{path} is a directory: give a file in it named {_NAMED}, or a folder that the datasets library has saved"
        )
    lowered = path.lower()
    if not lowered.endswith(_ENDINGS):
        shown = path if len(path) <= 60 else path[:57] + "..."  # a text given instead of a list of texts
        raise UsageError(
            f"{shown!r}: not a source of texts; known: builtin:passages, hf:DATASET/SPLIT, files named {_NAMED}, "
            "a folder that the datasets library has saved, and - for standard input\n(texts themselves go in a list)"
        )
    if not os.path.exists(path):
        raise TextsError(missing_file(path))
    ending = os.path.splitext(lowered.removesuffix(".gz"))[1]
    if ending == ".txt":
        fields.refuse_for_plain(path)
    elif split != SPLITS[0]:
        raise UsageError(f"{path}: --split {split} is for plain texts; a {ending} file has a text a record")

    def opener() -> Stream:
        return gzip.open(path, "rb") if lowered.endswith(".gz") else open(path, "rb")

    if ending in _DELIMITERS:
        return lambda: read_delimited(_lines(opener, path, whole=True), path, fields, _DELIMITERS[ending])
    if ending == ".parquet":
        return partial(read_parquet, path, fields)
    if ending == ".jsonl":
        return lambda: read_json_lines(opener, path, fields)
    return lambda: read_plain_lines(opener, path, split)


def stdin_reader(fields: TextFields, split: str) -> Reader:
    """Return a function that reads standard input.

    It holds JSON lines where a field is named or the first line that is not blank begins with ``{``; paragraphs where these are
    requested; else plain lines.

    Raises
    ------
    UsageError
        A field is named and paragraphs are requested.
    """
    if split != SPLITS[0]:
        fields.refuse_for_plain(STDIN)

    def read() -> Iterator[Text]:
        lines = iter(sys.stdin.buffer)
        begun = list(_to_first_text(lines))
        opener: Opener = lambda: nullcontext(chain(begun, lines))  # noqa: E731
        first = begun[-1].removeprefix(BOM_UTF8).lstrip() if begun else b""
        if split == SPLITS[0] and (fields != TextFields() or first.startswith(b"{")):
            return read_json_lines(opener, STDIN, fields)
        if re.match(rb"\[\s*(\{|$)", first):
            raise TextsError(f"{STDIN}: begins as a JSON array: give one object a line, as jq -c '.[]' prints them")
        return read_plain_lines(opener, STDIN, split)

    return read


def _to_first_text(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the blank lines and the first one that is not."""
    for line in lines:
        yield line
        if line.removeprefix(BOM_UTF8).strip():
            return


def read_plain_lines(opener: Opener, name: str, split: str = "line") -> Iterator[Text]:
    """Yield each line, or each paragraph, as a text; the id is its 0-based number."""
    lines = _lines(opener, name)
    if split == SPLITS[0]:
        for number, line in lines:
            yield Text(str(number), line)
        return
    paragraph: list[str] = []
    number = 0
    for line in chain((line for _, line in lines), [""]):
        if line.strip():
            paragraph.append(line)
        elif paragraph:
            yield Text(str(number), "\n".join(paragraph))
            paragraph = []
            number += 1


def read_json_lines(opener: Opener, name: str, fields: TextFields) -> Iterator[Text]:
    """Yield the text of the JSON object in each line; an empty line is a blank text.

    Raises
    ------
    TextsError
        A line is not JSON, or not an object with the fields. The message names the line.
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
        yield record_text(record, number, fields, place)


def _lines(opener: Opener, name: str, whole: bool = False) -> Iterator[tuple[int, str]]:
    """Yield lines with their 0-based numbers, `whole` ones with their ends; an error names the file and the line."""
    done = 0
    try:
        with opener() as stream:
            for number, raw in enumerate(stream):
                if number == 0:
                    raw = raw.removeprefix(BOM_UTF8)
                if not whole:
                    raw = raw.removesuffix(b"\n").removesuffix(b"\r")
                yield number, _decoded(raw, f"{name}: line {number + 1}")
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
        what = "it holds no text, or text in UTF-16; give a text file" if b"\0" in raw else "convert the file to UTF-8"
        raise TextsError(
            f"{place}: not UTF-8 (byte 0x{raw[error.start]:02x}, byte {error.start + 1} of the line): {what}"
        ) from error
