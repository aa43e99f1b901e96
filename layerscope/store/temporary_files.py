"""Append to temporary files without names, and read them back.

The system removes the files with the process, however it ends. This module does not use HDF5.
"""

import os
import tempfile
from pathlib import Path
from typing import IO

from layerscope.errors import CaptureError

__all__ = ["TemporaryFiles"]

_BUFFER_BYTES = 1 << 20


class TemporaryFiles:
    """A fixed number of append-only files. Memory holds one buffer per file.

    Append everything first; then read from any thread.

    Parameters
    ----------
    folder
        The folder of the files; the system's temporary folder by default.
    count
        The number of files.

    Raises
    ------
    CaptureError
        The folder cannot be written, or the disk is full.

    Examples
    --------
    >>> files = TemporaryFiles(None, 2)
    >>> files.append(b"abc", b"1")
    >>> files.append(b"de", b"23")
    >>> files.read(0, 1, 3), files.read(1, 0, 3)
    (b'bcd', b'123')
    >>> files.close()
    """

    def __init__(self, folder: str | os.PathLike[str] | None, count: int) -> None:
        self._folder = Path(folder) if folder is not None else Path(tempfile.gettempdir())
        self._files: list[IO[bytes]] = []
        self._unflushed = False
        try:
            for _ in range(count):
                self._files.append(tempfile.TemporaryFile(dir=self._folder, buffering=_BUFFER_BYTES))  # noqa: SIM115
        except OSError as error:
            self.close()
            raise self._failure(error) from error

    def append(self, *contents: bytes) -> None:
        """Append to each file its content."""
        try:
            for file, content in zip(self._files, contents, strict=True):
                file.write(content)
        except OSError as error:
            raise self._failure(error) from error
        self._unflushed = True

    def read(self, file: int, offset: int, size: int) -> bytes:
        """Return `size` bytes of a file, from `offset` on."""
        if self._unflushed:
            try:
                for each in self._files:
                    each.flush()
            except OSError as error:
                raise self._failure(error) from error
            self._unflushed = False
        return os.pread(self._files[file].fileno(), size, offset)

    def close(self) -> None:
        """Close the files, which removes them."""
        for file in self._files:
            file.close()

    def _failure(self, error: OSError) -> CaptureError:
        return CaptureError(
            f"cannot keep the tokens of the texts in {self._folder}: {error.strerror}\nfree some disk there"
        )
