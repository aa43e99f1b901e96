"""Open HDF5 files that may be damaged, and translate every error of the libraries.

On unexpected bytes, HDF5, h5py, h5netcdf and xarray raise almost any class: OSError, RuntimeError, KeyError, AttributeError,
RecursionError, MemoryError. All files are read inside `translate_errors` or `open_hdf5`, so that users see one FileError.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import h5py
import xarray

from layerscope.errors import FileError, LayerScopeError, missing_file
from layerscope.store.file_check import check_file
from layerscope.store.file_schema import FileSchema
from layerscope.store.locking import lockable

__all__ = ["open_dataset", "open_hdf5", "open_shared", "require_regular_file", "translate_errors"]

_LONGEST = 120  # characters of a library's message


@contextmanager
def open_hdf5(path: str | os.PathLike[str], schema: FileSchema) -> Iterator[h5py.File]:
    """Open a file for reading after checking it against its schema; translate every error of the libraries in the block.

    Raises
    ------
    FileError
        The file is missing, unreadable, damaged, or of another kind.
    """
    path = Path(path)
    with translate_errors(path, schema.remedy):
        require_regular_file(path, schema.kind)
        if not h5py.is_hdf5(path):
            what = "is no HDF5 file" if path.stat().st_size else "is empty"
            raise FileError(f"{path} {what}, so no {schema.kind}\ngive a file made by layerscope {schema.command}")
        with open_shared(path) as file:
            check_file(path, file, schema, path.stat().st_size)
            yield file


def open_shared(path: str | os.PathLike[str]) -> h5py.File:
    """Open a file for reading while another program may write it; the parts that are read change in place only."""
    try:
        return h5py.File(path, "r", locking=False)
    except OSError:  # HDF5 allows one locking mode per process, and this process has the file open in the usual mode
        return h5py.File(path, "r")


def open_dataset(path: str | os.PathLike[str], schema: FileSchema) -> xarray.Dataset:
    """Check a file against its schema, and open it lazily with xarray.

    Raises
    ------
    FileError
        A variable has other dimensions than in the schema, or another size than in the file.
    """
    with open_hdf5(path, schema) as file:
        shapes = {name: file[name].shape for name in file if isinstance(file[name], h5py.Dataset)}
    with ExitStack() as held, translate_errors(path, schema.remedy):
        dataset = lockable(
            lambda locking: xarray.open_dataset(path, engine="h5netcdf", driver_kwds={"locking": locking})
        )
        held.callback(dataset.close)
        for name, variable in dataset.variables.items():
            wanted = schema.of(str(name))
            if (wanted and variable.dims not in (wanted.dims, (wanted.may_label,))) or shapes.get(
                str(name)
            ) != variable.shape:
                raise FileError(
                    f"{path} is damaged: {name} is on {', '.join(map(str, variable.dims))}\n{schema.remedy}"
                )
        held.pop_all()
    return dataset


def require_regular_file(path: Path, kind: str) -> None:
    """Refuse a path that is missing, a directory, a pipe or a device, or that this user cannot read.

    Raises
    ------
    FileError
        The message gives the reason.
    """
    if not path.exists():
        raise FileError(missing_file(path))
    if path.is_dir():
        raise FileError(f"{path} is a directory, no {kind}: give the file in it")
    if not path.is_file():
        raise FileError(f"{path} is a pipe, a socket or a device, no {kind}: give a file")
    if not os.access(path, os.R_OK):
        raise FileError(f"{path} cannot be read: permission denied")


@contextmanager
def translate_errors(
    path: str | os.PathLike[str], remedy: str, problem: str | None = None, of: type[Exception] = Exception
) -> Iterator[None]:
    """Turn what libraries raise on a damaged file into a FileError of two lines.

    Parameters
    ----------
    path
        The file.
    remedy
        The second line.
    problem
        The problem, if it is not that the file is damaged.
    of
        The class of errors to translate; by default all.

    Examples
    --------
    >>> with translate_errors("run.h5", "capture it again with --overwrite"):
    ...     raise OSError("Unable to synchronously open file (truncated file: eof = 12)")
    Traceback (most recent call last):
        ...
    layerscope.errors.FileError: run.h5 is truncated (truncated file: eof = 12)
    capture it again with --overwrite
    """
    try:
        yield
    except LayerScopeError:
        raise
    except BlockingIOError as error:
        raise FileError(f"{path} is being written by another program\nwait for it") from error
    except of as error:
        if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM):
            raise FileError(f"{path} cannot be read: permission denied") from error
        damage = " is truncated" if "truncated" in str(error) else " is damaged"
        raise FileError(f"{path}{damage if problem is None else ': ' + problem} ({_brief(error)})\n{remedy}") from error


def _brief(error: Exception) -> str:
    """Return the inner part of an HDF5 message in one line."""
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    inner = text[text.find("(") + 1 : text.rfind(")")] if "(" in text else text
    line = " ".join(inner.split()).encode("utf-8", "replace").decode()
    return (line[:_LONGEST] + "…" if len(line) > _LONGEST else line) or type(error).__name__
