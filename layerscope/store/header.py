"""Read the header of a capture file, and check that it is a capture.

Every way to open a capture uses this module, so a file that is missing, foreign, truncated or unfinished is refused in one
place with one message.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from layerscope.errors import FileError
from layerscope.store.bfloat16 import stored_dtype
from layerscope.store.checksums import commit_record, header_checksum, index_checksum
from layerscope.store.file_schema import plain_value
from layerscope.store.hdf5 import open_hdf5
from layerscope.store.layout import CaptureLayout, Setting, stored_metadata
from layerscope.store.schema import (
    BLOCK,
    BLOCK_NAME,
    CAPTURE,
    CHAR_END,
    CHECKSUM,
    COMMITTED,
    COMPLETE,
    FEATURE,
    FINAL_NORM,
    INDEX_CHECKSUM,
    LAYER,
    LAYER_NAME,
    SEQUENCE,
    SEQUENCE_ID,
    SEQUENCE_INDEX,
    SETTINGS,
    STATES,
    TOKEN,
    TOKEN_STRING,
    Attribute,
)
from layerscope.stream_names import STREAMS

__all__ = ["CaptureHeader", "opened", "read_header", "require_complete", "require_sound_index", "sequence_ids"]


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
        Of the dimensions token, layer, block, feature and sequence, of which a file has layer, block or both.
    layout
        What a row consists of.
    variables
        Names of all variables, in alphabetical order; dimensions and their labels are none.
    complete
        Whether the capture was finished.
    committed_rows
        Rows safely in the file; all of them once complete.
    settings
        What a resumed capture must agree in; empty in files that were not written by a capture.
    file_bytes
        Size of the file.
    checksum
        Of the header, compared; None in files of versions that wrote none, and of other programs.
    """

    path: Path
    attributes: dict[str, Attribute]
    sizes: dict[str, int]
    layout: CaptureLayout
    variables: tuple[str, ...]
    complete: bool
    committed_rows: int
    settings: dict[str, Setting]
    file_bytes: int
    checksum: str | None = None

    @property
    def fraction(self) -> float:
        """The share of the rows that are committed, 0 … 1."""
        return self.committed_rows / self.sizes[TOKEN] if self.sizes[TOKEN] else 1.0


def read_header(path: str | os.PathLike[str]) -> CaptureHeader:
    """Read the header of a capture file, finished or not, even while it is being written.

    Raises
    ------
    FileError
        The file is missing, a directory, unreadable, truncated, or no capture.
    """
    try:
        return _read(Path(path))
    except FileError:  # a commit during the read looks like damage: read once more
        return _read(Path(path))


def _read(path: Path) -> CaptureHeader:
    with opened(path) as file:
        return _header(path, file)


def require_complete(header: CaptureHeader) -> None:
    """Refuse a capture that was not finished.

    Raises
    ------
    FileError
        States the progress and how to continue.
    """
    if not header.complete:
        raise FileError(
            f"{header.path} is not finished (complete=0; {header.committed_rows:,} of {header.sizes[TOKEN]:,} rows)\n"
            "continue it with layerscope capture --resume"
        )


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """Open a file for reading, sure that it is a capture; translate every error of HDF5 inside.

    Raises
    ------
    FileError
        The file is missing, damaged, or no capture.
    """
    with open_hdf5(path, CAPTURE) as file:
        yield file


def require_sound_index(path: str | os.PathLike[str], file: h5py.File) -> None:
    """Refuse a capture whose tokens, texts or layers are not those that were written.

    Raises
    ------
    FileError
        They do not match their checksum; without one, a row belongs to no sequence.
    """
    stored = file[TOKEN].attrs.get(INDEX_CHECKSUM) if TOKEN in file else None
    settings = str(file[TOKEN].attrs.get(SETTINGS, "{}")) if TOKEN in file else "{}"
    if stored is not None and stored != index_checksum(file, stored_metadata(settings)):
        raise _damaged(path, "its tokens or texts do not match their checksum")
    numbers = file[SEQUENCE_INDEX]
    if len(numbers) and not (numbers[...].min() >= 0 and numbers[...].max() < len(sequence_ids(file))):
        raise _damaged(path, "rows belong to sequences that it does not have")


def sequence_ids(file: h5py.File) -> h5py.Dataset:
    """Return the ids of the texts, also of a part that xarray has saved, in which ``sequence_id`` labels the rows."""
    own = file.get(SEQUENCE)
    return own if own is not None and h5py.check_string_dtype(own.dtype) is not None else file[SEQUENCE_ID]


def _header(path: Path, file: h5py.File) -> CaptureHeader:
    attributes = {name: plain_value(value) for name, value in file.attrs.items()}
    dtypes = {name: stored_dtype(file[name]) for name in STATES if name in file}
    for name, dtype in dtypes.items():
        if dtype is None:
            raise _damaged(path, f"{name} is {file[name].dtype}, which no capture stores")
    private = file[TOKEN].attrs if TOKEN in file else {}
    settings = private.get(SETTINGS, "{}")
    complete = attributes.pop(COMPLETE)
    checksum = _checked(path, file, attributes, settings)
    layout = _layout(file, dtypes)
    tokens = len(file[next(iter(dtypes))])
    rows = _committed(path, private, checksum, complete == 1, tokens)
    of_states = {name: len(numbers) for name, numbers in ((LAYER, layout.layer), (BLOCK, layout.block)) if numbers}
    return CaptureHeader(
        path=path,
        attributes={**attributes, COMPLETE: int(complete == 1)},
        sizes={TOKEN: tokens, **of_states, FEATURE: layout.width, SEQUENCE: len(sequence_ids(file))},
        layout=layout,
        variables=tuple(sorted(name for name in file if name not in (TOKEN, LAYER, BLOCK, FEATURE, SEQUENCE))),
        complete=complete == 1,
        committed_rows=rows,
        settings=json.loads(settings),
        file_bytes=path.stat().st_size,
        checksum=checksum,
    )


def _layout(file: h5py.File, dtypes: Mapping[str, torch.dtype | None]) -> CaptureLayout:
    def axis(dimension: str, names: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
        if dimension not in (STATES[name][0] for name in dtypes):
            return (), ()
        return tuple(file[dimension][...].tolist()), tuple(file[names].asstr()[...].tolist())

    (layer, layer_name), (block, block_name) = axis(LAYER, LAYER_NAME), axis(BLOCK, BLOCK_NAME)
    first, dtype = next(iter(dtypes.items()))
    assert dtype is not None
    return CaptureLayout(
        layer,
        layer_name,
        file[first].shape[-1],
        dtype,
        FINAL_NORM in file,
        CHAR_END in file,
        tuple(stream for stream, variable in STREAMS.items() if variable in dtypes),
        block,
        block_name,
        TOKEN_STRING in file,
    )


def _checked(path: Path, file: h5py.File, attributes: Mapping[str, Attribute], settings: str) -> str | None:
    """Return the header's checksum after comparing it; None in files without one."""
    private = file[TOKEN].attrs if TOKEN in file else {}
    if CHECKSUM not in private:
        return None
    stored = str(private[CHECKSUM])
    if stored != header_checksum(file, attributes, settings, str(private.get(INDEX_CHECKSUM))):
        raise _damaged(path, "its header does not match its checksum")
    return stored


def _committed(path: Path, private: Mapping[str, Any], checksum: str | None, complete: bool, tokens: int) -> int:
    """Return how many rows are safely in the file, after comparing the count with its checksum."""
    record = np.asarray(private.get(COMMITTED, [0, 0])).reshape(-1).tolist()
    if checksum is None:
        return tokens if complete else int(record[0])
    if record != commit_record(checksum, *record[:2]).tolist() or (complete and record[0] != tokens):
        raise _damaged(path, "its count of committed rows does not match its checksum")
    return int(record[0])


def _damaged(path: str | os.PathLike[str], what: str) -> FileError:
    return FileError(f"{path} is damaged: {what}\n{CAPTURE.remedy}")
