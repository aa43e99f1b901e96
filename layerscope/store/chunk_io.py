"""Read and write rows of states in a capture file, past HDF5: see `layerscope.store.chunks`.

A writer casts states to the storage type and reorders them layer by layer in one copy. A reader reads all layers of a chunk's
tokens, then widens and reorders them token by token in one copy. Both reuse one buffer. This module has no dataset names.
"""

import os

import h5py
import numpy as np
import torch
from jaxtyping import Float, Int

from layerscope.errors import FileError
from layerscope.store.bfloat16 import stored_dtype
from layerscope.store.chunks import ChunkTable, chunk_table, stretches

__all__ = ["RowReader", "RowWriter"]

_CAST_TOKENS = 256  # a block that the processor's cache holds


class RowWriter:
    """Writes rows of one dataset ``(token, layer, feature)`` or ``(token, feature)``.

    Parameters
    ----------
    dataset
        Created by `layerscope.store.creation`, every chunk allocated.
    descriptor
        The same file, open for writing.

    Raises
    ------
    FileError
        The dataset has another layout.
    """

    def __init__(self, dataset: h5py.Dataset, descriptor: int) -> None:
        table, dtype = chunk_table(dataset), stored_dtype(dataset)
        if table is None or dtype is None:
            raise FileError(
                f"{dataset.file.filename}: {dataset.name[1:]} was not created by a capture\nstart again with --overwrite"
            )
        self.dtype = dtype
        self._layers, self._width = table.address.shape[1], dataset.shape[-1]
        self._table = table
        self._descriptor = descriptor
        self._buffer = torch.empty(0, dtype=dtype)

    @torch.no_grad()
    def cast(self, states: Float[torch.Tensor, "token layer feature"]) -> Float[torch.Tensor, "layer token feature"]:
        """Return the states in the storage type, layer by layer.

        States that are contiguous layer by layer, as a capture gathers them, are cast in one copy, or not copied if their type
        is the storage type. All others go into a buffer that the next call uses again.
        """
        by_layer = states.transpose(0, 1)
        if by_layer.is_cpu and by_layer.dtype == self.dtype and by_layer.is_contiguous():
            return by_layer
        if states.numel() > self._buffer.numel():
            with torch.inference_mode(False):  # otherwise it could not be written outside inference mode
                self._buffer = torch.empty(states.numel(), dtype=self.dtype)
        turned = self._buffer[: states.numel()].view(self._layers, len(states), self._width)
        if by_layer.is_cpu and by_layer.is_contiguous():
            turned.copy_(by_layer)
        elif states.is_cpu:
            for start in range(0, len(states), _CAST_TOKENS):
                block = slice(start, start + _CAST_TOKENS)
                turned[:, block].transpose(0, 1).copy_(states[block])
        else:  # cast on the device of the states: half as many bytes to copy
            turned.copy_(states.to(self.dtype).transpose(0, 1).contiguous())
        return turned

    def write(self, row: Int[np.ndarray, " token"], turned: Float[torch.Tensor, "layer token feature"]) -> None:
        """Write states from `cast` at the given rows, each run of consecutive rows in one call."""
        content = turned.view(torch.uint8).numpy().reshape(self._layers, len(row), self._table.row_bytes)
        for start, stop in stretches(row, self._table.tokens):
            for layer, address in enumerate(self._table.addresses(int(row[start]))):
                _write_all(self._descriptor, content[layer, start:stop], address)


def _write_all(descriptor: int, content: np.ndarray, address: int) -> None:
    written = os.pwrite(descriptor, content.data, address)
    while written < content.nbytes:  # a nearly full disk writes a part first, and fails on the rest
        written += os.pwrite(descriptor, content.reshape(-1)[written:].data, address + written)


class RowReader:
    """Reads consecutive rows of one dataset ``(token, layer, feature)``. Made by `of`.

    Parameters
    ----------
    table
        The addresses of the rows.
    dtype
        The type of the stored numbers.
    width
        Number of features of a state.
    descriptor
        The file, open for reading.
    """

    def __init__(self, table: ChunkTable, dtype: torch.dtype, width: int, descriptor: int) -> None:
        self._table = table
        self._descriptor = descriptor
        self._turned = torch.empty(table.address.shape[1], table.tokens, width, dtype=dtype)
        self._bytes = self._turned.view(torch.uint8).numpy()

    @classmethod
    def of(cls, dataset: h5py.Dataset, descriptor: int) -> "RowReader | None":
        """Return a reader of a dataset in the file of `descriptor`, or None if its rows are not stored plainly there."""
        table, dtype = chunk_table(dataset), stored_dtype(dataset)
        if table is None or dtype is None or dataset.id.get_type().get_order() != h5py.h5t.ORDER_LE:
            return None
        return cls(table, dtype, dataset.shape[-1], descriptor)

    def read(self, start: int, out: Float[torch.Tensor, "token layer feature"]) -> None:
        """Fill `out` with the rows from `start` on.

        Raises
        ------
        OSError
            The disk cannot read them.
        """
        for begin, end in stretches(np.arange(start, start + len(out)), self._table.tokens):
            count = end - begin
            for layer, address in enumerate(self._table.addresses(start + begin)):
                _read_all(self._descriptor, self._bytes[layer, :count], address)
            out[begin:end].copy_(self._turned[:, :count].transpose(0, 1))


def _read_all(descriptor: int, into: np.ndarray, address: int) -> None:
    got = 0
    while got < into.nbytes:
        more = os.preadv(descriptor, [into.reshape(-1)[got:].data], address + got)
        if not more:
            raise OSError("the file ends before its rows do")
        got += more
