"""Let one process at a time make a folder, with a lock of the operating system that ends with its process.

The package filelock is no substitute: without locks in the file system it falls back to a file that outlives a killed process.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["folder_lock"]


@contextmanager
def folder_lock(folder: Path, *, wait: bool = True) -> Iterator[bool]:
    """Keep other processes from making a folder. The lock is a file next to the folder, removed at the end.

    Parameters
    ----------
    folder
        The folder to make; it need not exist.
    wait
        Whether to wait for another process that is making it.

    Yields
    ------
    bool
        False if another process may be making the folder. On a file system without locks this never waits; it yields True if
        `wait`, and False otherwise.
    """
    path = folder.with_name(f"{folder.name}.lock")
    lock, held = _open(path, wait)
    try:
        yield held or wait
    finally:
        if held:  # removed while locked, so that no process locks a file that the next one cannot see
            path.unlink(missing_ok=True)
        os.close(lock)


def _open(path: Path, wait: bool) -> tuple[int, bool]:
    while True:
        lock = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:  # another process has it, or the file system has no locks
            return lock, False
        if path.exists() and os.path.samestat(os.fstat(lock), path.stat()):
            return lock, True
        os.close(lock)  # its last owner has removed it
