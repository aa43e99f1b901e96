"""Find damaged text heaps before HDF5 reads them, because HDF5 never returns from some.

A heap ("global heap collection" in the format's specification) begins with ``GCOL``, a version, and its size. Objects follow,
each with a number, a size and content. HDF5 2.0 accepts a size of 0 for the free space at the end, and then loops forever.
"""

import os
import struct
from collections.abc import Iterable, Iterator

__all__ = ["damaged_heap"]

_BEGINNING = b"GCOL\x01\x00\x00\x00"
_HEADER = 16  # bytes before the first object, and before the content of an object


def damaged_heap(path: str | os.PathLike[str], stored: Iterable[tuple[int, int]]) -> int | None:
    """Return the address of the first damaged heap of a file, or None.

    Parameters
    ----------
    path
        The file.
    stored
        The parts of the file that hold data of variables, as (address, bytes); they are not searched.

    Examples
    --------
    >>> import tempfile
    >>> heap = _BEGINNING + struct.pack("<QHHIQ", 64, 0, 0, 0, 48) + bytes(32)
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     _ = file.write(bytes(8) + heap + heap[:24] + bytes(40))
    ...     file.flush()
    ...     damaged_heap(file.name, [])
    72
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for start, stop in _gaps(stored, os.fstat(descriptor).st_size):
            content = os.pread(descriptor, stop - start, start)
            at = content.find(_BEGINNING)
            while at >= 0:
                end = _end(content, at)
                if end is None:
                    return start + at
                at = content.find(_BEGINNING, end)
    finally:
        os.close(descriptor)
    return None


def _gaps(stored: Iterable[tuple[int, int]], size: int) -> Iterator[tuple[int, int]]:
    """Yield the parts of a file that hold no data of variables."""
    last = 0
    for address, length in sorted(stored):
        if address > last:
            yield last, min(address, size)
        last = max(last, address + length)
    if last < size:
        yield last, size


def _end(content: bytes, start: int) -> int | None:
    """Return where a heap ends; None if its objects do not fit it."""
    if start + _HEADER > len(content):
        return None
    end = start + struct.unpack_from("<Q", content, start + 8)[0]
    at = start + _HEADER
    while at + _HEADER <= end <= len(content):
        number, _, _, size = struct.unpack_from("<HHIQ", content, at)
        needed = _HEADER + -(-size // 8) * 8 if number else size
        if not needed:
            return None
        at += needed
    return end if at <= end <= len(content) else None
