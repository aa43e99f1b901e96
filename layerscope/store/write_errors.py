"""Translate errors on writing a capture file into messages with a remedy."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from layerscope.errors import CaptureError

__all__ = ["translate_write_errors"]


@contextmanager
def translate_write_errors(path: Path, what: str) -> Iterator[None]:
    """Translate errors inside the context into a CaptureError.

    Parameters
    ----------
    path
        The file.
    what
        The operation: open, write, close.

    Examples
    --------
    >>> with translate_write_errors(Path("run.h5"), "write"):
    ...     raise OSError(errno.ENOSPC, "No space left on device")
    Traceback (most recent call last):
        ...
    layerscope.errors.CaptureError: cannot write run.h5: No space left on device
    free some disk, and continue with --resume
    """
    try:
        yield
    except BlockingIOError as error:
        raise CaptureError(f"{path} is open in another program\nclose it there, and continue with --resume") from error
    except (OSError, RuntimeError) as error:
        number = error.errno if isinstance(error, OSError) else None  # h5py extracts it from HDF5's message
        if number in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            remedy = "free some disk, and continue with --resume"
        elif number in (errno.EACCES, errno.EPERM, errno.EROFS):
            remedy = "give a file that can be written to --output"
        else:
            remedy = "check the disk, and continue with --resume"
        reason = os.strerror(number) if number else str(error)
        raise CaptureError(f"cannot {what} {path}: {reason}\n{remedy}") from error
