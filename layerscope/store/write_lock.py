"""Lock an output path against a second writer.

The lock is the operating system's (``flock``), on a separate file next to the output, because the output itself may not exist yet
and is replaced under the lock. The lock ends with its process, so the lock file of a killed process does not block others.

The package ``filelock`` does not fit: it leaves the lock file in place, and without ``flock`` it falls back to a lock by the
existence of a file, which a killed process leaves behind.
"""

import errno
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from layerscope.errors import CaptureError, FileError
from layerscope.store import locking

__all__ = ["WriteLock"]


class WriteLock:
    """Exclusive right of this process to write an output, between entering and leaving.

    Parameters
    ----------
    path
        The output, existing or not. Two links to one file are one output.
    work
        The kind of work, for messages: ``capture`` or ``sweep``.

    Raises
    ------
    CaptureError, FileError
        On entering a capture's lock, or another's: a second process writes the output, or the folder is missing or read-only.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, WriteLock(Path(folder) / "sweep.nc", "sweep"):
    ...     [entry.name for entry in Path(folder).iterdir()]
    ['.sweep.nc.lock']
    """

    def __init__(self, path: Path, work: str) -> None:
        real = Path(os.path.realpath(path))
        self._path, self._work = path, work
        self._folder = real.parent
        self._lock_path = real.with_name(f".{real.name}.lock")
        self._lock: int | None = None

    @property
    def exists(self) -> bool:
        """Whether there is a lock file, of a running or a killed process."""
        return self._lock_path.exists()

    def __enter__(self) -> "WriteLock":
        self._lock = self._acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock_path.unlink(missing_ok=True)  # before closing, while no other process can hold it
            os.close(self._lock)
            self._lock = None

    def clear(self) -> None:
        """Remove the lock file of a killed process; keep that of a running one, and any in a read-only folder."""
        if self.exists:
            with suppress(CaptureError, FileError), self:
                pass

    def _acquire(self) -> int:
        while True:
            try:
                lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except OSError as error:
                raise self._cannot_write(error) from error
            try:
                locking.lock(lock, self._path)
                if self._is_current(lock):
                    return lock
            except BlockingIOError as error:
                os.close(lock)
                raise self._error(
                    f"another {self._work} is writing {self._path}\nwait for it, or give another file to --output"
                ) from error
            except OSError as error:
                os.close(lock)
                raise self._cannot_write(error) from error
            os.close(lock)  # the previous holder removed it between opening and locking: try the new one

    def _is_current(self, lock: int) -> bool:
        try:
            return os.path.samestat(os.fstat(lock), self._lock_path.stat())
        except FileNotFoundError:
            return False

    def _cannot_write(self, error: OSError) -> CaptureError | FileError:
        remedy = "make the folder" if error.errno == errno.ENOENT else "give a file that can be written to --output"
        return self._error(f"cannot write {self._path}: {error.strerror} ({self._folder})\n{remedy}")

    def _error(self, message: str) -> CaptureError | FileError:
        return (CaptureError if self._work == "capture" else FileError)(message)
