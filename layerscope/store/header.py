"""What a capture file says of itself, and whether it is a capture at all.

Every way of opening a capture comes through here, so that a file that is missing, foreign, truncated or unfinished is
refused in one place with the same words.
"""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from layerscope.errors import FileError, missing_file
from layerscope.store.bfloat16 import stored_dtype
from layerscope.store.layout import CaptureLayout, Setting
from layerscope.store.schema import (
    CHAR_END,
    COMMITTED,
    COMPLETE,
    FEATURE,
    FINAL_NORM,
    HIDDEN,
    LAYER,
    LAYER_NAME,
    REQUIRED,
    SEQUENCE,
    SEQUENCE_ID,
    SETTINGS,
    TOKEN,
    TOKEN_ID,
    VERSION,
    Attribute,
)

__all__ = ["CaptureHeader", "opened", "read_header", "require_complete"]


@dataclass(frozen=True)
class CaptureHeader:
    """Everything about a capture but its rows.

    Attributes
    ----------
    path
        The file.
    attributes
        Those of the contract, as plain str, int and float.
    sizes
        Of the dimensions token, layer, feature and sequence.
    layout
        What a row consists of.
    complete
        Whether the capture was finished.
    committed_rows
        Rows safely in the file; all of them once complete.
    settings
        What a resumed capture must agree in; empty in files that were not written by a capture.
    file_bytes
        Size of the file.
    """

    path: Path
    attributes: dict[str, Attribute]
    sizes: dict[str, int]
    layout: CaptureLayout
    complete: bool
    committed_rows: int
    settings: dict[str, Setting]
    file_bytes: int

    @property
    def fraction(self) -> float:
        """The share of the rows that are committed, 0 … 1."""
        return self.committed_rows / self.sizes[TOKEN] if self.sizes[TOKEN] else 1.0


def read_header(path: str | os.PathLike[str]) -> CaptureHeader:
    """Read what a capture file says of itself, finished or not, also while it is being written.

    Raises
    ------
    FileError
        The file is missing, a directory, unreadable, truncated, or no capture.
    """
    with opened(path) as file:
        return _header(Path(path), file)


def require_complete(header: CaptureHeader) -> None:
    """Refuse a capture that was not finished.

    Raises
    ------
    FileError
        With how far it got, and how to go on.
    """
    if not header.complete:
        raise FileError(
            f"{header.path} is not finished (complete=0; {header.committed_rows:,} of {header.sizes[TOKEN]:,} rows)\n"
            "continue it with layerscope capture --resume"
        )


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """Open a file for reading, sure that it is a capture; turn what HDF5 says of damage into a FileError."""
    path = Path(path)
    _require_hdf5(path)
    with _translated(path):
        try:  # neither kept out by a capture that is writing nor in its way: what is read only ever changes in place
            file = h5py.File(path, "r", locking=False)
        except OSError:  # HDF5 allows one way of locking in a process, and this one has the file open in the usual way
            file = h5py.File(path, "r")
    with file, _translated(path):
        missing = [name for name in REQUIRED if not isinstance(file.get(name), h5py.Dataset)]
        missing += [name for name in (VERSION, COMPLETE) if name not in file.attrs]
        if missing:
            raise FileError(
                f"{path} is no LayerScope capture: it lacks {', '.join(missing)}\n"
                "give a file made by layerscope capture"
            )
        yield file


def _require_hdf5(path: Path) -> None:
    if not path.exists():
        raise FileError(missing_file(path))
    if path.is_dir():
        raise FileError(f"{path} is a directory\ngive a capture file")
    if not os.access(path, os.R_OK):
        raise FileError(f"{path} cannot be read: permission denied")
    if not h5py.is_hdf5(path):
        what = "is no HDF5 file" if path.stat().st_size else "is empty"
        raise FileError(f"{path} {what}, so no LayerScope capture\ngive a file made by layerscope capture")


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Say in our words what a damaged file raises: in HDF5 (OSError, RuntimeError), h5py (KeyError), JSON (ValueError)."""
    try:
        yield
    except BlockingIOError as error:
        raise FileError(f"{path} is being written by another program\nwait for it") from error
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM):
            raise FileError(f"{path} cannot be read: permission denied") from error
        what = "is truncated" if "truncated" in str(error) else "is damaged"
        raise FileError(f"{path} {what} ({_brief(error)})\ncapture it again with --overwrite") from error


def _brief(error: Exception) -> str:
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    inner = text[text.find("(") + 1 : text.rfind(")")] if "(" in text else text
    return inner or type(error).__name__


def _header(path: Path, file: h5py.File) -> CaptureHeader:
    hidden, attributes = file[HIDDEN], {name: _plain(value) for name, value in file.attrs.items()}
    dtype = stored_dtype(hidden)
    layer, names = file[LAYER][...], file[LAYER_NAME].asstr()[...]
    if hidden.ndim != 3 or dtype is None or hidden.shape[:2] != (len(file[TOKEN_ID]), len(layer)):
        raise FileError(
            f"{path} is no LayerScope capture: hidden is {hidden.dtype} {hidden.shape}, "
            "expected floats (token, layer, feature)"
        )
    tokens, layers, width = hidden.shape
    complete = attributes.pop(COMPLETE) == 1
    private = file[TOKEN].attrs if TOKEN in file else {}
    committed = int(private[COMMITTED][0]) if COMMITTED in private else 0
    return CaptureHeader(
        path=path,
        attributes={**attributes, COMPLETE: int(complete)},
        sizes={TOKEN: tokens, LAYER: layers, FEATURE: width, SEQUENCE: len(file[SEQUENCE_ID])},
        layout=CaptureLayout(
            tuple(layer.tolist()), tuple(names.tolist()), width, dtype, FINAL_NORM in file, CHAR_END in file
        ),
        complete=complete,
        committed_rows=tokens if complete else committed,
        settings=json.loads(private[SETTINGS]) if SETTINGS in private else {},
        file_bytes=path.stat().st_size,
    )


def _plain(value: Any) -> Attribute:
    """Return an attribute as Python's own; netCDF writers keep a single number as an array of one."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, np.ndarray | np.generic):
        return value.item() if value.size == 1 else str(value.tolist())
    return value if isinstance(value, str | int | float) else str(value)
