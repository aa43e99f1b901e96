"""What a sweep has finished so far, kept so that it can go on after any interruption.

A small database beside the output, one entry a (task, batch, run), each written whole or not at all. It disappears when the
output is complete. Knows arrays; knows no model.
"""

import io
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from layerscope.errors import FileError
from layerscope.store.locking import connect

__all__ = ["Journal", "JournalFacts", "discard", "first_difference", "holds_a_journal", "journal_of", "read_journal"]

_MAGIC = b"SQLite format 3\0"

Arrays = Mapping[str, np.ndarray]
Settings = Mapping[str, Any]

_TABLES = """
CREATE TABLE settings (text TEXT NOT NULL);
CREATE TABLE results (task INTEGER, batch INTEGER, run INTEGER, arrays BLOB NOT NULL, PRIMARY KEY (task, batch, run));
CREATE TABLE sums (task INTEGER, node INTEGER, batch INTEGER NOT NULL, arrays BLOB NOT NULL, PRIMARY KEY (task, node));
"""


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
        When the file is no journal, or cannot be written.
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        self._path = path
        try:
            self._database = connect(path, timeout=1, isolation_level=None)
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            # Entries go to a log that is synced now and then: a kill loses none, a power cut at most the last few.
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.execute("BEGIN IMMEDIATE")
            if not self._database.execute("SELECT name FROM sqlite_master WHERE name = 'sums'").fetchone():
                for statement in _TABLES.split(";"):
                    self._database.execute(statement)
                self._database.execute("INSERT INTO settings VALUES (?)", (json.dumps(dict(settings)),))
            self._database.execute("COMMIT")
            text = self._database.execute("SELECT text FROM settings").fetchone()[0]
        except sqlite3.Error as error:
            raise FileError(
                f"{path}: the journal of this sweep cannot be used ({error}): is another sweep writing it?\n"
                "Wait for that one, or begin anew with --overwrite."
            ) from error
        self.settings: dict[str, Any] = json.loads(text)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def finished(self, task: int, batch: int) -> set[int]:
        """Return the runs that are finished for a batch."""
        rows = self._database.execute("SELECT run FROM results WHERE task = ? AND batch = ?", (task, batch))
        return {run for (run,) in rows}

    def add(self, task: int, batch: int, run: int, arrays: Arrays, sums: Mapping[int, Arrays]) -> None:
        """Write one run of one batch, and add what nodes of the prefix tree have to add to the sums of their task.

        A node that was walked for the same batch before, by a sweep that was interrupted, adds nothing again.
        """
        with closing(self._database.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            cursor.execute("INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?)", (task, batch, run, _packed(arrays)))
            for node, more in sums.items():
                known = cursor.execute(
                    "SELECT batch, arrays FROM sums WHERE task = ? AND node = ?", (task, node)
                ).fetchone()
                if known is not None and known[0] >= batch:
                    continue
                before = _unpacked(known[1]) if known else {name: np.zeros_like(value) for name, value in more.items()}
                total = {name: np.asarray(before[name] + value) for name, value in more.items()}
                cursor.execute("INSERT OR REPLACE INTO sums VALUES (?, ?, ?, ?)", (task, node, batch, _packed(total)))
            cursor.execute("COMMIT")

    def results(self, task: int, run: int) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Give each batch of one run."""
        rows = self._database.execute(
            "SELECT batch, arrays FROM results WHERE task = ? AND run = ? ORDER BY batch", (task, run)
        )
        for batch, arrays in rows:
            yield batch, _unpacked(arrays)

    def sums(self, task: int) -> dict[int, dict[str, np.ndarray]]:
        """Return the sums of all nodes of a task."""
        rows = self._database.execute("SELECT node, arrays FROM sums WHERE task = ?", (task,))
        return {node: _unpacked(arrays) for node, arrays in rows}

    def remove(self) -> None:
        """Close the journal and delete it: the output is complete."""
        self._database.close()
        discard(self._path)


@dataclass(frozen=True)
class JournalFacts:
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


def journal_of(target: Path) -> Path:
    """Return where the journal of a sweep stands: beside its output.

    Examples
    --------
    >>> journal_of(Path("sweep.nc")).name
    'sweep.nc.journal'
    """
    return target.with_name(target.name + ".journal")


def holds_a_journal(path: Path) -> bool:
    """Tell whether a file is a journal, or at least a database."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def read_journal(path: Path) -> JournalFacts:
    """Read what a journal says of its sweep, without going on with it.

    Raises
    ------
    FileError
        A sweep is writing it just now; it is no journal.
    """
    with closing(connect(path, timeout=0)) as database:
        try:
            settings = json.loads(database.execute("SELECT text FROM settings").fetchone()[0])
            counts = dict(database.execute("SELECT task, COUNT(*) FROM results GROUP BY task").fetchall())
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise FileError(f"{path}: a sweep is writing here just now: wait for it") from error
            raise FileError(f"{path} is no journal of a sweep ({error})") from error
        except (sqlite3.DatabaseError, ValueError, TypeError) as error:
            raise FileError(f"{path} is no journal of a sweep, or a damaged one ({error})") from error
    return JournalFacts(settings, {name: counts.get(task, 0) for task, name in enumerate(settings["tasks"])})


def discard(path: Path) -> None:
    """Delete a journal that may have been left behind.

    Raises
    ------
    FileError
        When a sweep is writing it just now.
    """
    if path.exists():
        with closing(connect(path, timeout=1, isolation_level=None)) as database:
            try:
                database.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                raise FileError(f"{path}: another sweep is writing here ({error}): wait for it, or stop it") from error
            except sqlite3.DatabaseError:
                pass  # no journal, or a damaged one: nobody's
    for ending in ("", "-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)


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


def _packed(arrays: Arrays) -> bytes:
    held = io.BytesIO()
    np.savez(held, **dict(arrays))  # type: ignore[arg-type]  # its own flags come after the arrays
    return held.getvalue()


def _unpacked(packed: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(packed)) as arrays:
        return {name: arrays[name] for name in arrays.files}
