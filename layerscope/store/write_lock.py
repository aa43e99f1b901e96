"""Lock an output path against a second writer, with a lock file next to it (`layerscope.lock_files`).

The output itself cannot be locked: it may not exist yet, and it is replaced under the lock.
"""

import errno
import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType

from layerscope.errors import CaptureError, FileError
from layerscope.lock_files import open_lock_file
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
        try:
            return open_lock_file(self._lock_path, partial(locking.lock, path=self._path))
        except BlockingIOError as error:
            raise self._error(
                f"another {self._work} is writing {self._path}\nwait for it, or give another file to --output"
            ) from error
        except OSError as error:
            raise self._cannot_write(error) from error

    def _cannot_write(self, error: OSError) -> CaptureError | FileError:
        remedy = "make the folder" if error.errno == errno.ENOENT else "give a file that can be written to --output"
        return self._error(f"cannot write {self._path}: {error.strerror} ({self._folder})\n{remedy}")

    def _error(self, message: str) -> CaptureError | FileError:
        return (CaptureError if self._work == "capture" else FileError)(message)
