"""The format of a sweep's journal: tables, checksums, packed arrays, and the messages for damaged files.

Every entry has a checksum over its table, its key and its arrays. The settings row has the sum of all checksums, so that a
missing or added entry is noticed. This module knows a database, not a sweep.
"""

import hashlib
import io
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from layerscope.errors import FileError

__all__ = [
    "MODULUS",
    "STATEMENTS",
    "Arrays",
    "check_journal",
    "checksum",
    "entry_checksum",
    "pack",
    "total_text",
    "translate_errors",
    "unpack",
]

Arrays = Mapping[str, np.ndarray]

_TABLES = """
CREATE TABLE settings (text TEXT NOT NULL, total TEXT NOT NULL);
CREATE TABLE results (task INTEGER, batch INTEGER, run INTEGER, arrays BLOB NOT NULL, checksum TEXT NOT NULL,
PRIMARY KEY (task, batch, run));
CREATE TABLE sums (task INTEGER, node INTEGER, batch INTEGER NOT NULL, arrays BLOB NOT NULL, checksum TEXT NOT NULL,
PRIMARY KEY (task, node))
"""
STATEMENTS = [statement.strip() for statement in _TABLES.split(";")]

_BYTES = 16  # size of a checksum
MODULUS: int = 2 ** (8 * _BYTES)


def check_journal(path: Path, database: sqlite3.Connection) -> tuple[dict[str, Any], int]:
    """Return the settings and the sum of all checksums, after checking every entry against its own checksum.

    Raises
    ------
    FileError
        The tables are not those of a journal, or its contents do not match their checksums.
    """
    tables = {
        " ".join(str(sql).split()) for (sql,) in database.execute("SELECT sql FROM sqlite_master WHERE sql NOT NULL")
    }
    if tables != {" ".join(statement.split()) for statement in STATEMENTS}:
        if not any(sql.startswith("CREATE TABLE sums") for sql in tables):
            raise FileError(f"{path} is not the journal of a sweep: it has other tables")
        raise FileError(f"{path} was written by a version without checksums\nstart again with --overwrite")
    rows = database.execute("SELECT text, total FROM settings").fetchall()
    trouble = "its settings are missing" if len(rows) != 1 else _trouble(database, *rows[0])
    if trouble:
        raise FileError(f"{path} is damaged: {trouble}\nstart again with --overwrite")
    settings: dict[str, Any] = json.loads(rows[0][0])
    return settings, int(rows[0][1], 16)


def _trouble(database: sqlite3.Connection, text: Any, total: Any) -> str | None:
    total_found = checksum(str(text).encode())
    for table, numbers in (("results", "task, batch, run"), ("sums", "task, node, batch")):
        for *key, arrays, kept in database.execute(f"SELECT {numbers}, arrays, checksum FROM {table}"):
            if not isinstance(arrays, bytes) or f"{entry_checksum(table, tuple(key), arrays):x}" != kept:
                return f"an entry of {table} does not match its checksum"
            total_found += int(kept, 16)
    return None if total_text(total_found % MODULUS) == total else "entries or settings were changed, added or removed"


def checksum(content: bytes) -> int:
    """Return a checksum as a number, so that checksums can be added."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=_BYTES).digest())


def entry_checksum(table: str, numbers: tuple[Any, ...], packed: bytes) -> int:
    """Return the checksum of one entry of a table, over its key and its arrays."""
    return checksum(f"{table} {numbers} ".encode() + packed)


def total_text(total: int) -> str:
    """Return the sum of all checksums as the settings row stores it."""
    return f"{total:x}"


_DISK_WORDS = ("disk", "unable to open", "readonly")  # in SQLite's messages


@contextmanager
def translate_errors(path: Path, *, reading: bool = False) -> Iterator[None]:
    """Turn errors of the database into a FileError."""
    try:
        yield
    except sqlite3.Error as error:
        if "locked" in str(error) or "busy" in str(error):
            message = (
                f"{path}: a sweep is writing this journal: wait until it ends"
                if reading
                else f"{path}: cannot use the journal ({error}): is another sweep writing it?\n"
                "Wait until it ends, or start again with --overwrite."
            )
        elif isinstance(error, sqlite3.OperationalError) and any(word in str(error) for word in _DISK_WORDS):
            message = f"{path}: cannot use the journal ({error})\ncheck the disk, then continue with --resume"
        else:
            message = f"{path} is not the journal of a sweep, or is damaged ({error})\nstart again with --overwrite"
        raise FileError(message) from error


def pack(arrays: Arrays) -> bytes:
    """Return arrays as the bytes of an .npz file."""
    file = io.BytesIO()
    np.savez(file, **dict(arrays))  # type: ignore[arg-type]  # its own flags come after the arrays
    return file.getvalue()


def unpack(packed: bytes) -> dict[str, np.ndarray]:
    """Return the arrays that `pack` wrote."""
    with np.load(io.BytesIO(packed)) as arrays:
        return {name: arrays[name] for name in arrays.files}
