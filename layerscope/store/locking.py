"""Use locks of the operating system, and continue with a warning on file systems without locks.

Network drives may answer a lock with "no locks available" or "not implemented". The user cannot change that, so the work
continues without the lock. A warning, one for each folder, names the remaining risk.
"""

import fcntl
import os
import sqlite3
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import h5py

from layerscope.lock_files import has_no_locks

__all__ = ["connect", "lock", "lockable", "open_lockable"]

_Opened = TypeVar("_Opened")


def lock(descriptor: int, path: Path) -> None:
    """Lock an open file against other processes, or warn that the file system of `path` cannot.

    Raises
    ------
    BlockingIOError
        Another process holds the lock.
    OSError
        It cannot be locked for another reason.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if not has_no_locks(error):
            raise
        _warn(path, error)


def open_lockable(path: str | os.PathLike[str], mode: str, **options: Any) -> h5py.File:
    """Open an HDF5 file; without HDF5's lock if the file system lacks locks."""
    return lockable(lambda locking: h5py.File(path, mode, locking=locking, **options))


def lockable(opened: Callable[[bool | None], _Opened]) -> _Opened:
    """Open a file with h5py's usual ``locking``, which is None; with False where the file system has no locks."""
    try:
        return opened(None)
    except OSError as error:
        if not has_no_locks(error):
            raise
        return opened(False)


def connect(path: Path, **options: Any) -> sqlite3.Connection:
    """Open an SQLite database; without SQLite's locks if the file system lacks locks.

    SQLite reports a lock that the file system refuses as one that another process holds, so this asks the file system.
    """
    refusal = _record_locks_refused(path.parent)
    address = f"file:{quote(str(path.absolute()))}" + ("?vfs=unix-none" if refusal else "")
    database: sqlite3.Connection = sqlite3.connect(address, uri=True, **options)
    if refusal is not None:
        _warn(path, refusal)
        database.execute("PRAGMA locking_mode = EXCLUSIVE")  # else its write-ahead log needs locks in shared memory
    return database


def _record_locks_refused(folder: Path) -> OSError | None:
    """Return why a file in `folder` cannot have a lock on its bytes, which is what SQLite uses; None where it can."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            fcntl.lockf(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error if has_no_locks(error) else None
    return None


_warned: set[Path] = set()  # folders: a sweep locks its output and its journal, and one warning is enough


def _warn(path: Path, error: OSError) -> None:
    folder = path.absolute().parent
    if folder in _warned:
        return
    _warned.add(folder)
    warnings.warn(
        f"{folder}: its file system has no locks ({error.strerror}): make sure that no other process writes {path.name}",
        stacklevel=3,
    )
