"""Lock files: let one process at a time make a file or a folder.

The lock is the operating system's (``flock``) on a separate file, which its holder removes. It ends with its process, so the
lock file of a killed process does not block others. The package ``filelock`` does not fit: without ``flock`` it falls back to a
lock by the existence of a file, which a killed process leaves behind.
"""

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

__all__ = ["folder_lock", "has_no_locks", "open_lock_file"]

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


def has_no_locks(error: OSError) -> bool:
    """Return whether an error means that the file system has no locks."""
    return error.errno in _NO_LOCKS


def open_lock_file(path: Path, lock: Callable[[int], None]) -> int:
    """Open a lock file, lock it, and return its descriptor. The holder removes the file before closing the descriptor.

    Parameters
    ----------
    path
        The lock file; it need not exist.
    lock
        Locks an open file.

    Raises
    ------
    OSError
        The file cannot be opened, or `lock` raises.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            lock(descriptor)
            if _is_current(descriptor, path):
                return descriptor
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the last holder removed it between opening and locking: try the new one


def _is_current(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def folder_lock(folder: Path, *, wait: bool = True) -> Iterator[bool]:
    """Keep other processes from making a folder. The lock file is next to the folder.

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
    operation = fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB)
    try:
        descriptor = open_lock_file(path, partial(_flock, operation))
    except OSError as error:
        if not (isinstance(error, BlockingIOError) or has_no_locks(error)):
            raise
        yield wait
        return
    try:
        yield True
    finally:
        path.unlink(missing_ok=True)  # before closing, while no other process can hold it
        os.close(descriptor)


def _flock(operation: int, descriptor: int) -> None:
    fcntl.flock(descriptor, operation)
