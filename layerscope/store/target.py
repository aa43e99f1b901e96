"""One place on disk for one capture: locked against a second writer, and cleared of what a killed one left behind.

The lock is the operating system's (``flock``) on a file of its own beside the target, because the target itself is
replaced while the lock is held and may not exist yet. It is gone with the process that holds it, however that ends, so
a lock file that a killed capture left blocks nobody. On a file system without locks the capture goes on with a warning.
"""

import errno
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from layerscope.errors import CaptureError, UsageError
from layerscope.store import locking

__all__ = ["CaptureTarget"]


class CaptureTarget:
    """A capture file to be, held by this process alone between entering and leaving.

    Attributes
    ----------
    path
        The capture file, there or not.
    temporary
        Beside it, where a new file is laid out before it takes the target's place; removed on entering and on leaving.
    folder
        Where both lie.

    Raises
    ------
    UsageError
        On entering, for a path that is a directory.
    CaptureError
        On entering: another capture holds the target, the folder does not exist or cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, CaptureTarget(Path(folder) / "run.h5") as target:
    ...     sorted(entry.name for entry in target.folder.iterdir())
    ['.run.h5.lock']
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        # The lock stands beside the real file: two links to one file are one target.
        real = Path(os.path.realpath(self.path))
        self.folder = real.parent
        self.temporary = real.with_name(f".{real.name}.tmp")
        self._real = real
        self._lock_path = real.with_name(f".{real.name}.lock")
        self._lock: int | None = None

    def __enter__(self) -> "CaptureTarget":
        if self.path.is_dir():
            raise UsageError(f"{self.path} is a directory\ngive a file name to --output")
        self._lock = self._locked()
        try:
            self.temporary.unlink(missing_ok=True)  # of a dead capture: a living one would hold the lock
        except OSError:
            self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.temporary.unlink(missing_ok=True)
        self._release()

    def clear(self) -> None:
        """Remove what a killed capture has left beside its finished file; a living one keeps what is its own."""
        if self._lock_path.exists() or self.temporary.exists():
            with suppress(CaptureError, OSError), self:  # a folder that cannot be written keeps it, too
                pass

    def adopt(self) -> None:
        """Put the finished temporary file in the target's place, in one step."""
        self.temporary.replace(self._real)

    def _locked(self) -> int:
        while True:
            try:
                lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except OSError as error:
                raise self._cannot_write(error) from error
            try:
                locking.lock(lock, self.path)
                if self._is_current(lock):
                    return lock
            except BlockingIOError as error:
                os.close(lock)
                raise CaptureError(
                    f"another capture is writing {self.path}\nwait for it, or give another file to --output"
                ) from error
            except OSError as error:
                os.close(lock)
                raise self._cannot_write(error) from error
            os.close(lock)  # its last holder removed it between opening and locking: try the new one

    def _is_current(self, lock: int) -> bool:
        try:
            return os.path.samestat(os.fstat(lock), self._lock_path.stat())
        except FileNotFoundError:
            return False

    def _release(self) -> None:
        if self._lock is not None:
            self._lock_path.unlink(missing_ok=True)  # while it is held: nobody else can hold this file any more
            os.close(self._lock)
            self._lock = None

    def _cannot_write(self, error: OSError) -> CaptureError:
        remedy = "make the folder" if error.errno == errno.ENOENT else "give a file that can be written to --output"
        return CaptureError(f"cannot write {self.path}: {error.strerror} ({self.folder})\n{remedy}")
