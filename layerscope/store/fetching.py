"""Rows of states brought from a capture file, widened on the way, past HDF5: see `layerscope.store.chunks`.

All layers of a chunk's tokens are read into a buffer that is kept, then widened and turned token by token in one copy.
This module knows no dataset names.
"""

import os

import h5py
import numpy as np
import torch
from jaxtyping import Float

from layerscope.store.bfloat16 import stored_dtype
from layerscope.store.chunks import ChunkTable, chunk_table, stretches

__all__ = ["RowFetcher"]


class RowFetcher:
    """Reads consecutive rows of one dataset ``(token, layer, feature)``. Made by `of`.

    Parameters
    ----------
    table
        Where the rows lie.
    dtype
        Of the numbers there.
    width
        Features of a state.
    descriptor
        The file, open for reading.
    """

    def __init__(self, table: ChunkTable, dtype: torch.dtype, width: int, descriptor: int) -> None:
        self._table = table
        self._descriptor = descriptor
        self._turned = torch.empty(table.address.shape[1], table.tokens, width, dtype=dtype)
        self._bytes = self._turned.view(torch.uint8).numpy()

    @classmethod
    def of(cls, dataset: h5py.Dataset, descriptor: int) -> "RowFetcher | None":
        """Return a reader of a dataset in the file of `descriptor`, or None if its rows do not lie plainly there."""
        table, dtype = chunk_table(dataset), stored_dtype(dataset)
        if table is None or dtype is None or dataset.id.get_type().get_order() != h5py.h5t.ORDER_LE:
            return None
        return cls(table, dtype, dataset.shape[-1], descriptor)

    def fetch(self, start: int, out: Float[torch.Tensor, "token layer feature"]) -> None:
        """Fill `out` with the rows from `start` on.

        Raises
        ------
        OSError
            The disk does not give them.
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
