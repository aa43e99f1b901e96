"""One process at a time makes a folder: a lock of the operating system, which ends with the process that holds it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["folder_lock"]


@contextmanager
def folder_lock(folder: Path, *, wait: bool = True) -> Iterator[bool]:
    """Keep other processes from making a folder; the lock is a file beside it, removed at the end.

    Parameters
    ----------
    folder
        What is to be made; it need not be there.
    wait
        Whether to wait for another process that is making it.

    Yields
    ------
    bool
        Whether no other process is making the folder. Where the file system has no locks, nobody is waited for, and anyone
        may be.
    """
    path = folder.with_name(f"{folder.name}.lock")
    lock, held = _open(path, wait)
    try:
        yield held or wait
    finally:
        if held:  # removed while it is held, so that nobody gets a lock that the next one would not see
            path.unlink(missing_ok=True)
        os.close(lock)


def _open(path: Path, wait: bool) -> tuple[int, bool]:
    while True:
        lock = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:  # another has it, or there are no locks here
            return lock, False
        if path.exists() and os.path.samestat(os.fstat(lock), path.stat()):
            return lock, True
        os.close(lock)  # the one before has removed it
