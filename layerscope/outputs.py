"""Check output paths before any work is done, and write files atomically. This module does not depend on a file format."""

import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from layerscope.errors import FileError, UsageError

__all__ = ["new_file", "replace_whole", "writable"]


def writable(path: Path, *inputs: object) -> Path:
    """Return `path` if a file may be written there without replacing an input, or a file in a folder that is an input.

    Raises
    ------
    UsageError
        The path is a directory or an input, or its folder is missing or cannot be written.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a directory: give a file name to --output")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}: make it, or give another --output")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"{path}: the folder {path.parent} cannot be written: give another --output")
    for one in inputs:
        if isinstance(one, str | os.PathLike) and os.path.exists(one) and path.exists() and _is_part(path, Path(one)):
            raise UsageError(f"{path} exists already and is read by this very command: give another --output")
    return path


def _is_part(path: Path, read: Path) -> bool:
    return read.resolve() in path.resolve().parents if read.is_dir() else path.samefile(read)


def new_file(path: Path, overwrite: bool, *inputs: object) -> Path:
    """Return `path` if a new file may be written there, or an existing one replaced; an input is never replaced.

    Raises
    ------
    UsageError
        The path cannot be written, or exists and is not to be replaced.
    """
    if writable(path, *inputs).exists() and not overwrite:
        raise UsageError(f"{path} exists already: give --overwrite to replace it, or another --output")
    return path


@contextmanager
def replace_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write, and move it to `path` if the block ends without an error.

    The temporary file is in the same folder, and its name contains this machine and process: the next writer removes the files
    that killed processes of this machine left, and no others.

    Raises
    ------
    FileError
        The file cannot be written.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     target = Path(folder) / "scores.json"
    ...     with replace_whole(target) as partial:
    ...         size = partial.write_text("{}")
    ...     [entry.name for entry in Path(folder).iterdir()]
    ['scores.json']
    """
    machine = hashlib.blake2b(socket.gethostname().encode(), digest_size=4).hexdigest()
    mine = f".{path.name}.{machine}."
    partial = path.with_name(f"{mine}{os.getpid()}.part")
    try:
        _remove_left_behind(path.parent, mine)
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise FileError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # its folder may be gone; an error of the block is the one to report
            partial.unlink(missing_ok=True)


def _remove_left_behind(folder: Path, mine: str) -> None:
    for name in os.listdir(folder):
        process = name.removeprefix(mine).removesuffix(".part")
        if name == f"{mine}{process}.part" and process.isdecimal() and not _is_alive(int(process)):
            (folder / name).unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)  # sends nothing
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        pass
    return True
