"""The journal file of a sweep from outside: its path, a summary of its progress, and its removal."""

import os
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerscope.evaluation.journal_format import check_journal, translate_errors
from layerscope.store.hdf5 import require_regular_file
from layerscope.store.locking import connect

__all__ = ["JournalSummary", "discard", "is_journal", "journal_path", "read_journal"]

_MAGIC = b"SQLite format 3\0"


@dataclass(frozen=True)
class JournalSummary:
    """Progress of an interrupted or running sweep.

    Attributes
    ----------
    settings
        Settings with which the sweep was started.
    finished
        Number of finished (batch, run) pairs of each task.
    """

    settings: dict[str, Any]
    finished: dict[str, int]


def journal_path(target: Path) -> Path:
    """Return the path of a sweep's journal, next to its output.

    Examples
    --------
    >>> journal_path(Path("sweep.nc")).name
    'sweep.nc.journal'
    """
    return target.with_name(target.name + ".journal")


def is_journal(path: Path) -> bool:
    """Return whether a file is a journal, or at least an SQLite database."""
    if not path.is_file() or not os.access(path, os.R_OK):
        return False
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def read_journal(path: Path) -> JournalSummary:
    """Read the progress of a sweep from its journal, without continuing the sweep.

    Raises
    ------
    FileError
        A sweep is writing the journal, or the file is damaged or not a journal.
    """
    require_regular_file(path, "journal of a sweep")
    with translate_errors(path, reading=True), closing(connect(path, timeout=0)) as database:
        settings, _ = check_journal(path, database)
        counts = dict(database.execute("SELECT task, COUNT(*) FROM results GROUP BY task").fetchall())
    return JournalSummary(settings, {name: counts.get(task, 0) for task, name in enumerate(settings.get("tasks", []))})


def discard(path: Path) -> None:
    """Delete a journal, if there is one. The caller holds the write lock of the sweep.

    Raises
    ------
    FileError
        The path is not a regular file.
    """
    if path.exists():
        require_regular_file(path, "journal of a sweep")
    for ending in ("", "-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
