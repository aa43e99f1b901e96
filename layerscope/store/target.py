"""The output path of a capture: locked against a second writer, and cleared of the remains of a killed capture.

A file is laid out under a temporary name and takes its final place in one step, so an existing file is replaced only under
the lock and only by a file that is ready for its rows. On a file system without locks the capture continues with a warning.
"""

import os
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

from layerscope.errors import CaptureError, UsageError
from layerscope.store.write_lock import WriteLock

__all__ = ["CaptureTarget"]


class CaptureTarget:
    """Output path of a capture, locked between entering and leaving.

    Attributes
    ----------
    path
        The capture file, existing or not.
    temporary
        Where a new file is laid out, in the same folder; removed on entering and on leaving.
    folder
        The folder of both.

    Raises
    ------
    UsageError
        On entering, for a path that is a directory.
    CaptureError
        On entering: another capture holds the lock, or the folder is missing or read-only.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, CaptureTarget(Path(folder) / "run.h5") as target:
    ...     sorted(entry.name for entry in target.folder.iterdir())
    ['.run.h5.lock']
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._real = Path(os.path.realpath(self.path))
        self.folder = self._real.parent
        self.temporary = self._real.with_name(f".{self._real.name}.tmp")
        self._lock = WriteLock(self.path, "capture")

    def __enter__(self) -> "CaptureTarget":
        if self.path.is_dir():
            raise UsageError(f"{self.path} is a directory\ngive a file name to --output")
        with ExitStack() as stack:
            stack.enter_context(self._lock)
            self.temporary.unlink(missing_ok=True)  # of a killed capture: a running one would hold the lock
            self._held = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._held:
            self.temporary.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove the remains of a killed capture next to its finished file; a running capture keeps its own."""
        if self._lock.exists or self.temporary.exists():
            with suppress(CaptureError, OSError), self:  # a read-only folder keeps them
                pass

    def adopt(self) -> None:
        """Move the finished temporary file to the output path, in one step."""
        self.temporary.replace(self._real)
