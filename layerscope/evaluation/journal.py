"""What a sweep has finished so far, kept so that it can go on after any interruption.

A small database beside the output, one entry a (task, batch, run), each written whole or not at all. It disappears when the
output is complete. Every entry has a checksum of what it is of and what it holds, and the settings row holds the sum of all
checksums, so that an entry that was changed, added or removed by something else is noticed before anything uses it. Knows
arrays; knows no model.
"""

import io
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from layerscope.errors import FileError
from layerscope.evaluation.journal_format import (
    MODULUS,
    STATEMENTS,
    check_journal,
    checksum,
    entry_checksum,
    total_text,
)
from layerscope.store.hdf5 import require_regular_file
from layerscope.store.locking import connect

__all__ = [
    "Journal",
    "JournalSummary",
    "discard",
    "discard_finished",
    "first_difference",
    "is_journal",
    "journal_path",
    "read_journal",
]

_MAGIC = b"SQLite format 3\0"

Arrays = Mapping[str, np.ndarray]
Settings = Mapping[str, Any]


class Journal:
    """The finished work of one sweep.

    Parameters
    ----------
    path
        Of the database; made when it is not there.
    settings
        What the work depends on. Kept with a new journal.

    Attributes
    ----------
    settings
        Those it was begun with.

    Raises
    ------
    FileError
        When the file is no journal, is damaged, or cannot be written.
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        self._path = path
        if path.exists():
            require_regular_file(path, "journal of a sweep")
        with ExitStack() as held, _translated(path):
            self._database = held.enter_context(closing(connect(path, timeout=1, isolation_level=None)))
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            # Entries go to a log that is synced now and then: a kill loses none, a power cut at most the last few.
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.execute("BEGIN IMMEDIATE")
            if not self._database.execute("SELECT name FROM sqlite_master").fetchone():
                self._begin(json.dumps(dict(settings)))
            self._database.execute("COMMIT")
            self.settings, self._total = check_journal(path, self._database)
            self._closing = held.pop_all()

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
        """Return the runs that are finished for a batch."""
        with _translated(self._path):
            rows = self._database.execute("SELECT run FROM results WHERE task = ? AND batch = ?", (task, batch))
            return {run for (run,) in rows}

    def add(self, task: int, batch: int, run: int, arrays: Arrays, sums: Mapping[int, Arrays]) -> None:
        """Write one run of one batch, and add what nodes of the prefix tree have to add to the sums of their task.

        A node that was walked for the same batch before, by a sweep that was interrupted, adds nothing again.
        """
        total = self._total
        with _translated(self._path), closing(self._database.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            total = self._put(cursor, "results", (task, batch, run), _packed(arrays), total)
            for node, more in sums.items():
                known = cursor.execute(
                    "SELECT batch, arrays FROM sums WHERE task = ? AND node = ?", (task, node)
                ).fetchone()
                if known is not None and known[0] >= batch:
                    continue
                before = _unpacked(known[1]) if known else {name: np.zeros_like(value) for name, value in more.items()}
                summed = {name: np.asarray(before[name] + value) for name, value in more.items()}
                total = self._put(cursor, "sums", (task, node, batch), _packed(summed), total)
            cursor.execute("UPDATE settings SET total = ?", (total_text(total),))
            cursor.execute("COMMIT")
        self._total = total

    def _put(self, cursor: sqlite3.Cursor, table: str, numbers: tuple[int, int, int], packed: bytes, total: int) -> int:
        """Write an entry in place of the one under its key, if any; return the sum of all checksums after that."""
        where = "task = ? AND batch = ? AND run = ?" if table == "results" else "task = ? AND node = ?"
        key = numbers if table == "results" else numbers[:2]
        before = cursor.execute(f"SELECT checksum FROM {table} WHERE {where}", key).fetchone()
        replaced = int(before[0], 16) if before else 0
        checksum = entry_checksum(table, numbers, packed)
        cursor.execute(f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?, ?, ?)", (*numbers, packed, f"{checksum:x}"))
        return (total + checksum - replaced) % MODULUS

    def results(self, task: int, run: int) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Give each batch of one run."""
        with _translated(self._path):
            rows = self._database.execute(
                "SELECT batch, arrays FROM results WHERE task = ? AND run = ? ORDER BY batch", (task, run)
            ).fetchall()
        for batch, arrays in rows:
            yield batch, _unpacked(arrays)

    def sums(self, task: int) -> dict[int, dict[str, np.ndarray]]:
        """Return the sums of all nodes of a task."""
        with _translated(self._path):
            rows = self._database.execute("SELECT node, arrays FROM sums WHERE task = ?", (task,)).fetchall()
        return {node: _unpacked(arrays) for node, arrays in rows}

    def remove(self) -> None:
        """Close the journal and delete it: the output is complete."""
        self._closing.close()
        discard(self._path)


@dataclass(frozen=True)
class JournalSummary:
    """What a journal says of the sweep it belongs to.

    Attributes
    ----------
    settings
        Those the sweep was begun with.
    finished
        For each task, how many batches of runs are finished.
    """

    settings: dict[str, Any]
    finished: dict[str, int]


def journal_path(target: Path) -> Path:
    """Return where the journal of a sweep stands: beside its output.

    Examples
    --------
    >>> journal_path(Path("sweep.nc")).name
    'sweep.nc.journal'
    """
    return target.with_name(target.name + ".journal")


def is_journal(path: Path) -> bool:
    """Tell whether a file is a journal, or at least a database."""
    if not path.is_file() or not os.access(path, os.R_OK):
        return False
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def read_journal(path: Path) -> JournalSummary:
    """Read what a journal says of its sweep, without going on with it.

    Raises
    ------
    FileError
        A sweep is writing it just now; it is no journal, or a damaged one.
    """
    require_regular_file(path, "journal of a sweep")
    with _translated(path, reading=True), closing(connect(path, timeout=0)) as database:
        settings, _ = check_journal(path, database)
        counts = dict(database.execute("SELECT task, COUNT(*) FROM results GROUP BY task").fetchall())
    return JournalSummary(settings, {name: counts.get(task, 0) for task, name in enumerate(settings.get("tasks", []))})


def discard(path: Path) -> None:
    """Delete a journal that may have been left behind.

    Raises
    ------
    FileError
        When a sweep is writing it just now.
    """
    if path.exists():
        require_regular_file(path, "journal of a sweep")
        with closing(connect(path, timeout=1, isolation_level=None)) as database:
            try:
                database.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if "locked" in str(error):
                    raise FileError(
                        f"{path}: another sweep is writing here ({error}): wait for it, or stop it"
                    ) from error
            except sqlite3.DatabaseError:
                pass  # no journal, or a damaged one: nobody's
    for ending in ("", "-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)


def discard_finished(path: Path) -> None:
    """Delete the journal of a sweep whose output is complete, killed before it could; a sweep that still runs does so itself."""
    try:
        discard(path)
    except FileError:
        return


def first_difference(before: Settings, now: Settings) -> str | None:
    """Say in words where settings first differ.

    Examples
    --------
    >>> first_difference({"limit": 20, "seed": 0}, {"limit": 30, "seed": 0})
    'limit was 20 and is now 30'
    """
    for name in {**before, **now}:
        if before.get(name) != now.get(name):
            return f"{name} was {_short(before.get(name))} and is now {_short(now.get(name))}"
    return None


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


_OF_THE_DISK = ("disk", "unable to open", "readonly")  # words of SQLite's messages


@contextmanager
def _translated(path: Path, *, reading: bool = False) -> Iterator[None]:
    """Turn errors of the database into a FileError."""
    try:
        yield
    except sqlite3.Error as error:
        if "locked" in str(error) or "busy" in str(error):
            said = (
                f"{path}: a sweep is writing here just now: wait for it"
                if reading
                else (
                    f"{path}: the journal of this sweep cannot be used ({error}): is another sweep writing it?\n"
                    "Wait for that one, or start again with --overwrite."
                )
            )
        elif isinstance(error, sqlite3.OperationalError) and any(word in str(error) for word in _OF_THE_DISK):
            said = f"{path} cannot be used ({error})\ncheck the disk, and continue with --resume"
        else:
            said = f"{path} is no journal of a sweep, or a damaged one ({error})\nstart again with --overwrite"
        raise FileError(said) from error


def _packed(arrays: Arrays) -> bytes:
    held = io.BytesIO()
    np.savez(held, **dict(arrays))  # type: ignore[arg-type]  # its own flags come after the arrays
    return held.getvalue()


def _unpacked(packed: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(packed)) as arrays:
        return {name: arrays[name] for name in arrays.files}
