"""The journal of a sweep: its finished work, from which an interrupted sweep resumes.

A small database next to the output with one entry for each (task, batch, run), each written whole or not at all. It is deleted
when the output is complete. `layerscope.evaluation.journal_format` has the checksums that reveal a changed journal. This module
knows arrays, not models.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from layerscope.evaluation.journal_file import discard
from layerscope.evaluation.journal_format import (
    MODULUS,
    STATEMENTS,
    Arrays,
    check_journal,
    checksum,
    entry_checksum,
    pack,
    total_text,
    translate_errors,
    unpack,
)
from layerscope.store.hdf5 import require_regular_file
from layerscope.store.locking import connect

__all__ = ["Journal"]


class Journal:
    """Record of the finished (batch, run) pairs of one sweep.

    Parameters
    ----------
    path
        Path of the database; created if it does not exist.
    settings
        Settings that must match on resume; stored in a new journal.

    Attributes
    ----------
    settings
        Settings with which the journal was created.

    Raises
    ------
    FileError
        The file is damaged, is not a journal, or cannot be written.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self._path = path
        if path.exists():
            require_regular_file(path, "journal of a sweep")
        with ExitStack() as stack, translate_errors(path):
            self._database = stack.enter_context(closing(connect(path, timeout=1, isolation_level=None)))
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            # Entries go to a log that is synced at intervals: a kill loses none, a power cut at most the last few.
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.execute("BEGIN IMMEDIATE")
            if not self._database.execute("SELECT name FROM sqlite_master").fetchone():
                self._begin(json.dumps(dict(settings)))
            self._database.execute("COMMIT")
            self.settings, self._total = check_journal(path, self._database)
            self._closing = stack.pop_all()

    def _begin(self, text: str) -> None:
        for statement in STATEMENTS:
            self._database.execute(statement)
        self._database.execute("INSERT INTO settings VALUES (?, ?)", (text, total_text(checksum(text.encode()))))

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    def finished(self, task: int, batch: int) -> set[int]:
        """Return the finished runs of a batch."""
        with translate_errors(self._path):
            rows = self._database.execute("SELECT run FROM results WHERE task = ? AND batch = ?", (task, batch))
            return {run for (run,) in rows}

    def add(self, task: int, batch: int, run: int, arrays: Arrays, sums: Mapping[int, Arrays]) -> None:
        """Store one run of one batch, and add the sums of the prefix-tree nodes it visited to those of their task.

        A node that an interrupted sweep already visited for this batch is not added again.
        """
        total = self._total
        with translate_errors(self._path), closing(self._database.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            total = self._put(cursor, "results", (task, batch, run), pack(arrays), total)
            for node, more in sums.items():
                known = cursor.execute(
                    "SELECT batch, arrays FROM sums WHERE task = ? AND node = ?", (task, node)
                ).fetchone()
                if known is not None and known[0] >= batch:
                    continue
                before = unpack(known[1]) if known else {name: np.zeros_like(value) for name, value in more.items()}
                summed = {name: np.asarray(before[name] + value) for name, value in more.items()}
                total = self._put(cursor, "sums", (task, node, batch), pack(summed), total)
            cursor.execute("UPDATE settings SET total = ?", (total_text(total),))
            cursor.execute("COMMIT")
        self._total = total

    def _put(self, cursor: sqlite3.Cursor, table: str, numbers: tuple[int, int, int], packed: bytes, total: int) -> int:
        """Store an entry, replacing any entry with its key; return the new sum of all checksums."""
        where = "task = ? AND batch = ? AND run = ?" if table == "results" else "task = ? AND node = ?"
        key = numbers if table == "results" else numbers[:2]
        before = cursor.execute(f"SELECT checksum FROM {table} WHERE {where}", key).fetchone()
        replaced = int(before[0], 16) if before else 0
        own = entry_checksum(table, numbers, packed)
        cursor.execute(f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?, ?, ?)", (*numbers, packed, f"{own:x}"))
        return (total + own - replaced) % MODULUS

    def results(self, task: int, run: int) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Yield the number and the arrays of each batch of a run."""
        with translate_errors(self._path):
            rows = self._database.execute(
                "SELECT batch, arrays FROM results WHERE task = ? AND run = ? ORDER BY batch", (task, run)
            ).fetchall()
        for batch, arrays in rows:
            yield batch, unpack(arrays)

    def sums(self, task: int) -> dict[int, dict[str, np.ndarray]]:
        """Return the sums of each prefix-tree node of a task."""
        with translate_errors(self._path):
            rows = self._database.execute("SELECT node, arrays FROM sums WHERE task = ?", (task,)).fetchall()
        return {node: unpack(arrays) for node, arrays in rows}

    def remove(self) -> None:
        """Close and delete the journal, once the output is complete."""
        self._closing.close()
        discard(self._path)
