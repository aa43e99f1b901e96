"""Compute the checksums of a capture file: of its header, its index, the addresses of its rows, and the count of committed rows.

They are written when the file is created, so interruptions do not change them. The states have no checksum: rows are written in
any order, and their checksum would have to survive every kill.

``checksum`` covers the contract's attributes, the settings, the shape and type of the states, and ``index_checksum``, which
covers every token and sequence. ``placement_checksum`` covers the addresses of the chunks and the attribute ``coordinates``.
Only a resumed capture compares it, because another program may have copied the states to other addresses.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import h5py
import numpy as np

from layerscope.store.bfloat16 import stored_dtype
from layerscope.store.chunks import chunk_table
from layerscope.store.schema import (
    CAPTURE,
    COMPLETE,
    COORDINATES,
    FILE_ATTRIBUTES,
    Attribute,
)

__all__ = ["commit_record", "header_checksum", "index_checksum", "placement_checksum"]

_BLOCK = 2**18  # values read at a time


def header_checksum(file: h5py.File, attributes: Mapping[str, Attribute], settings: str, index: str) -> str:
    """Return the checksum of the header.

    Parameters
    ----------
    file
        Open for reading.
    attributes
        The attributes of the file, as plain str, int and float. Those of the contract are covered, except ``complete``.
    settings
        The stored settings.
    index
        The stored index checksum.
    """
    kept = {name: attributes.get(name) for name in FILE_ATTRIBUTES if name != COMPLETE}
    states = {name: (file[name].shape, str(stored_dtype(file[name]))) for name in COORDINATES if name in file}
    return _checksum([json.dumps([kept, states, settings, index], sort_keys=True).encode()])


def index_checksum(file: h5py.File, metadata: tuple[str, ...] = ()) -> str:
    """Return the checksum of all variables except the states, the `metadata` included, read block by block."""
    names = [name for name in CAPTURE.variables if name not in COORDINATES]
    return _checksum(part for name in (*names, *metadata) for part in _parts(file, name))


def _parts(file: h5py.File, name: str) -> Iterator[bytes]:
    dataset = file.get(name)
    if dataset is None:
        return
    yield f"{name} {dataset.shape}".encode()
    text = h5py.check_string_dtype(dataset.dtype) is not None
    kind = "<f8" if dataset.dtype.kind == "f" else "<i8"
    for start in range(0, len(dataset), _BLOCK):
        block = slice(start, start + _BLOCK)
        yield json.dumps(dataset.asstr()[block].tolist()).encode() if text else dataset[block].astype(kind).tobytes()


def placement_checksum(file: h5py.File) -> str:
    """Return the checksum of the addresses of all chunks and of the attribute ``coordinates``."""
    return _checksum(part for name in COORDINATES if name in file for part in _placement(file[name]))


def _placement(dataset: h5py.Dataset) -> Iterator[bytes]:
    table = chunk_table(dataset)
    yield str(dataset.attrs.get("coordinates")).encode()
    yield b"elsewhere" if table is None else table.address.astype("<i8").tobytes()


def commit_record(checksum: str, rows: int, total: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the record of a commit: the number of rows, the sum of their numbers, and a checksum of both.

    Examples
    --------
    >>> commit_record("", 3, 3).tolist() == commit_record("", 3, 3).tolist() != commit_record("", 3, 4).tolist()
    True
    """
    digest = hashlib.blake2b(f"{checksum} {rows} {total}".encode(), digest_size=8).digest()
    return np.array([rows, total, int.from_bytes(digest, "little", signed=True)], np.int64)


def _checksum(parts: Iterable[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
