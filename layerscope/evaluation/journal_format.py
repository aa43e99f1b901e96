"""The tables of a sweep's journal, and the checksums that tell a changed journal from the one that was written.

Every entry has a checksum of its table, its numbers and its arrays; the settings have the sum of them all, so that an entry
that is missing or new is noticed. Knows a database; knows no sweep.
"""

import hashlib
import json
import sqlite3
from pathlib import Path
from typing import Any

from layerscope.errors import FileError

__all__ = ["MODULUS", "STATEMENTS", "check_journal", "checksum", "entry_checksum", "total_text"]

_TABLES = """
CREATE TABLE settings (text TEXT NOT NULL, total TEXT NOT NULL);
CREATE TABLE results (task INTEGER, batch INTEGER, run INTEGER, arrays BLOB NOT NULL, checksum TEXT NOT NULL,
PRIMARY KEY (task, batch, run));
CREATE TABLE sums (task INTEGER, node INTEGER, batch INTEGER NOT NULL, arrays BLOB NOT NULL, checksum TEXT NOT NULL,
PRIMARY KEY (task, node))
"""
STATEMENTS = [statement.strip() for statement in _TABLES.split(";")]

_BYTES = 16  # of a checksum
MODULUS: int = 2 ** (8 * _BYTES)


def check_journal(path: Path, database: sqlite3.Connection) -> tuple[dict[str, Any], int]:
    """Return the settings and the sum of all checksums, after comparing every entry with its own.

    Raises
    ------
    FileError
        Other tables than a journal's, or contents that do not match their checksums.
    """
    tables = {
        " ".join(str(sql).split()) for (sql,) in database.execute("SELECT sql FROM sqlite_master WHERE sql NOT NULL")
    }
    if tables != {" ".join(statement.split()) for statement in STATEMENTS}:
        if not any(sql.startswith("CREATE TABLE sums") for sql in tables):
            raise FileError(f"{path} is no journal of a sweep: it has other tables")
        raise FileError(f"{path} was begun by a version that wrote no checksums\nstart again with --overwrite")
    rows = database.execute("SELECT text, total FROM settings").fetchall()
    trouble = "its settings are missing" if len(rows) != 1 else _trouble(database, *rows[0])
    if trouble:
        raise FileError(f"{path} is damaged: {trouble}\nstart again with --overwrite")
    settings: dict[str, Any] = json.loads(rows[0][0])
    return settings, int(rows[0][1], 16)


def _trouble(database: sqlite3.Connection, text: Any, total: Any) -> str | None:
    found = checksum(str(text).encode())
    for table, numbers in (("results", "task, batch, run"), ("sums", "task, node, batch")):
        for *key, arrays, kept in database.execute(f"SELECT {numbers}, arrays, checksum FROM {table}"):
            if not isinstance(arrays, bytes) or f"{entry_checksum(table, tuple(key), arrays):x}" != kept:
                return f"an entry of {table} does not match its checksum"
            found += int(kept, 16)
    return None if total_text(found % MODULUS) == total else "entries or settings were changed, added or removed"


def checksum(content: bytes) -> int:
    """Return a checksum as a number, so that checksums can be summed."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=_BYTES).digest())


def entry_checksum(table: str, numbers: tuple[Any, ...], packed: bytes) -> int:
    """Return the checksum of one entry of a table: of where it belongs, and of its arrays."""
    return checksum(f"{table} {numbers} ".encode() + packed)


def total_text(total: int) -> str:
    """Write the sum of all checksums as the settings keep it."""
    return f"{total:x}"
