"""Find the addresses of the rows of a dataset on disk, so that they can be read and written without HDF5.

A capture file stores states in plain chunks: some tokens of one layer, all features, uncompressed, every chunk at an address that
HDF5 reports (``H5Dchunk_iter``). Within a chunk, consecutive rows of a layer are contiguous bytes, which one system call reads or
writes. HDF5 gathers the same rows state by state, which is two to three times slower and holds Python's lock.

This module does not depend on dataset names.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import h5py
import numpy as np
from jaxtyping import Int

__all__ = ["ChunkTable", "chunk_table", "stretches"]


@dataclass(frozen=True)
class ChunkTable:
    """The addresses of a dataset ``(token, layer, feature)``, or ``(token, feature)`` as of a single layer.

    Attributes
    ----------
    tokens
        Number of tokens of a chunk.
    row_bytes
        Number of bytes of a state.
    address
        The address of each chunk in the file.
    """

    tokens: int
    row_bytes: int
    address: Int[np.ndarray, "chunk layer"]

    def addresses(self, row: int) -> list[int]:
        """Return the address of a row's state of each layer."""
        chunk, within = divmod(row, self.tokens)
        addresses: list[int] = (self.address[chunk] + within * self.row_bytes).tolist()
        return addresses


def chunk_table(dataset: h5py.Dataset) -> ChunkTable | None:
    """Return the addresses of a dataset's rows, or None if they are compressed, in another file, or in chunks of another shape.

    Raises
    ------
    ValueError
        Chunks overlap or are beyond the end of the file: it is damaged.
    """
    single = dataset.ndim == 2
    cut = dataset.chunks is not None and dataset.chunks[1:] in ((dataset.shape[-1],), (1, dataset.shape[-1]))
    if not cut or dataset.id.get_create_plist().get_nfilters() or dataset.file.userblock_size:
        return None
    layers, tokens = 1 if single else dataset.shape[1], dataset.chunks[0]
    address = np.full((-(-dataset.shape[0] // tokens), layers), -1, dtype=np.int64)

    def note(chunk: h5py.h5d.StoreInfo) -> None:
        address[chunk.chunk_offset[0] // tokens, 0 if single else chunk.chunk_offset[1]] = chunk.byte_offset

    dataset.id.chunk_iter(note)
    if (address < 0).any():
        return None
    row_bytes = dataset.shape[-1] * dataset.id.get_type().get_size()
    starts = np.append(np.sort(address, axis=None), dataset.file.id.get_filesize())
    if (np.diff(starts) < tokens * row_bytes).any():
        raise ValueError("chunks overlap or are beyond the end of the file")
    return ChunkTable(tokens, row_bytes, address)


def stretches(row: Int[np.ndarray, " token"], chunk_tokens: int) -> Iterator[tuple[int, int]]:
    """Yield the (start, stop) of each run of consecutive rows within a chunk.

    Examples
    --------
    >>> list(stretches(np.array([5, 6, 7, 8, 9, 2, 3]), chunk_tokens=8))
    [(0, 3), (3, 5), (5, 7)]
    """
    breaks = np.flatnonzero((np.diff(row) != 1) | (row[1:] % chunk_tokens == 0)) + 1
    return itertools.pairwise([0, *breaks.tolist(), len(row)])
