"""Rows of states put in their places in a capture file, past HDF5.

`layerscope.store.layout` has already given every chunk its place on disk, uncompressed. So a run of consecutive rows
of one layer is one contiguous stretch of bytes at an address HDF5 names (``H5Dchunk_iter``), and a plain ``pwrite``
puts it there. Through HDF5 the same rows are gathered state by state, three times slower and holding Python's lock
throughout.

The states are cast and turned layer by layer in one copy, into a buffer that is kept. This module knows no dataset
names.
"""

import itertools
import os

import h5py
import numpy as np
import torch
from jaxtyping import Float, Int

from layerscope.store.bfloat16 import stored_dtype

__all__ = ["RowPlacer"]

_CAST_TOKENS = 256  # a block that the processor's cache holds


class RowPlacer:
    """Writes rows of one allocated dataset ``(token, layer, feature)`` or ``(token, feature)``.

    Parameters
    ----------
    dataset
        Chunked by tokens and single layers, every chunk allocated, no filters; open in any file handle.
    descriptor
        The same file, open for writing.
    """

    def __init__(self, dataset: h5py.Dataset, descriptor: int) -> None:
        dtype = stored_dtype(dataset)
        assert dtype is not None
        self.dtype = dtype
        self.layers = dataset.shape[1] if dataset.ndim == 3 else 1
        self.width = dataset.shape[-1]
        self._chunk_tokens = dataset.chunks[0]
        self._row_bytes = self.width * dtype.itemsize
        self._address = _chunk_addresses(dataset, self.layers)
        self._descriptor = descriptor
        self._buffer = torch.empty(0, dtype=dtype)

    @torch.no_grad()
    def cast(self, states: Float[torch.Tensor, "token layer feature"]) -> Float[torch.Tensor, "layer token feature"]:
        """Return the states in the storage type, layer by layer, in a buffer that the next call uses again."""
        if states.numel() > self._buffer.numel():
            with torch.inference_mode(False):  # else it could not be written outside inference mode
                self._buffer = torch.empty(states.numel(), dtype=self.dtype)
        turned = self._buffer[: states.numel()].view(self.layers, len(states), self.width)
        if states.is_cpu:
            for start in range(0, len(states), _CAST_TOKENS):
                block = slice(start, start + _CAST_TOKENS)
                turned[:, block].transpose(0, 1).copy_(states[block])
        else:  # cast where the states are: half the bytes to bring over
            turned.copy_(states.to(self.dtype).transpose(0, 1).contiguous())
        return turned

    def place(self, row: Int[np.ndarray, " token"], turned: Float[torch.Tensor, "layer token feature"]) -> None:
        """Write states from `cast` at the given rows, each stretch of consecutive rows in one go."""
        content = turned.view(torch.uint8).numpy().reshape(self.layers, len(row), self._row_bytes)
        breaks = np.flatnonzero((np.diff(row) != 1) | (row[1:] % self._chunk_tokens == 0)) + 1
        edges = [0, *breaks.tolist(), len(row)]
        for start, stop in itertools.pairwise(edges):
            chunk, within = divmod(int(row[start]), self._chunk_tokens)
            for layer, address in enumerate(self._address[chunk].tolist()):
                _write_all(self._descriptor, content[layer, start:stop], address + within * self._row_bytes)


def _chunk_addresses(dataset: h5py.Dataset, layers: int) -> Int[np.ndarray, "chunk layer"]:
    in_chunk = dataset.chunks[0]
    address = np.full((-(-dataset.shape[0] // in_chunk), layers), -1, dtype=np.int64)

    def note(chunk: h5py.h5d.StoreInfo) -> None:
        address[chunk.chunk_offset[0] // in_chunk, chunk.chunk_offset[1] if dataset.ndim == 3 else 0] = (
            chunk.byte_offset
        )

    dataset.id.chunk_iter(note)
    assert (address > 0).all()
    return address


def _write_all(descriptor: int, content: np.ndarray, address: int) -> None:
    written = os.pwrite(descriptor, content.data, address)
    while written < content.nbytes:  # a disk that is nearly full takes a part first, and refuses the rest with an error
        written += os.pwrite(descriptor, content.reshape(-1)[written:].data, address + written)
