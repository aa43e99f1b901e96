"""Where on disk the rows of a dataset lie, so that they can be moved past HDF5.

A capture file's states are stored in plain chunks: some tokens of one layer, all features, uncompressed, every chunk at an
address that HDF5 names (``H5Dchunk_iter``). Within a chunk, consecutive rows of a layer are one contiguous stretch of bytes,
which one call of the operating system moves. Through HDF5 the same rows are gathered state by state, two to three times
slower and holding Python's lock throughout.

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
        Of each chunk.
    row_bytes
        Of one state.
    address
        Of each chunk in the file.
    """

    tokens: int
    row_bytes: int
    address: Int[np.ndarray, "chunk layer"]

    def addresses(self, row: int) -> list[int]:
        """Return where a row's state of each layer begins."""
        chunk, within = divmod(row, self.tokens)
        addresses: list[int] = (self.address[chunk] + within * self.row_bytes).tolist()
        return addresses


def chunk_table(dataset: h5py.Dataset) -> ChunkTable | None:
    """Return where a dataset's rows lie, or None if they do not lie plainly there: packed, elsewhere, otherwise cut.

    Raises
    ------
    ValueError
        Chunks overlap or lie beyond the end of the file: it is damaged.
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
        raise ValueError("chunks overlap or lie beyond the end of the file")
    return ChunkTable(tokens, row_bytes, address)


def stretches(row: Int[np.ndarray, " token"], chunk_tokens: int) -> Iterator[tuple[int, int]]:
    """Cut rows where they stop being consecutive, and where a chunk ends.

    Examples
    --------
    >>> list(stretches(np.array([5, 6, 7, 8, 9, 2, 3]), chunk_tokens=8))
    [(0, 3), (3, 5), (5, 7)]
    """
    breaks = np.flatnonzero((np.diff(row) != 1) | (row[1:] % chunk_tokens == 0)) + 1
    return itertools.pairwise([0, *breaks.tolist(), len(row)])
