"""How many bytes a capture will take, and whether the disk has them."""

import math
import os
import shutil
from pathlib import Path

import torch
from rich.filesize import decimal

from layerscope.errors import CaptureError
from layerscope.store.schema import INDEX_DTYPES, POSITION, SEQUENCE_INDEX, SEQUENCE_LENGTH, TOKEN_ID, chunk_tokens

__all__ = ["check_space", "forecast_bytes"]

_ROW_INDEX_BYTES = sum(INDEX_DTYPES[name].itemsize for name in (SEQUENCE_INDEX, POSITION, TOKEN_ID))
_SEQUENCE_BYTES = INDEX_DTYPES[SEQUENCE_LENGTH].itemsize + 64  # with its id, in HDF5's heap
_CHUNK_ADDRESS_BYTES = 96  # in HDF5's B-tree, whose nodes are partly empty
_FIXED_BYTES = 64 * 1024  # headers, attributes, provenance


def forecast_bytes(
    tokens: int, layers: int, width: int, dtype: torch.dtype, *, final_norm: bool = False, sequences: int = 0
) -> int:
    """Return the size a capture file will have, rounded up: rows, index and HDF5's own bookkeeping.

    Parameters
    ----------
    tokens, layers, width
        Rows stored, states of each, features of each state.
    dtype
        The storage type.
    final_norm
        Whether the state after the final norm is stored too.
    sequences
        How many texts.

    Returns
    -------
    int
        Bytes.

    Examples
    --------
    >>> forecast_bytes(1_000_000, layers=7, width=512, dtype=torch.bfloat16) / 1e9  # Pythia-70m: 7.2 GB
    7.18...
    """
    in_chunk = chunk_tokens(tokens, width, dtype.itemsize)
    chunks = math.ceil(tokens / in_chunk) * (layers + final_norm)
    rows = chunks * (in_chunk * width * dtype.itemsize + _CHUNK_ADDRESS_BYTES)
    return rows + tokens * _ROW_INDEX_BYTES + sequences * _SEQUENCE_BYTES + _FIXED_BYTES


def check_space(path: str | os.PathLike[str], needed: int) -> None:
    """Refuse a capture that the disk cannot hold.

    A file already at `path`, to be continued or replaced, counts as free: its bytes are used again or given back.

    Parameters
    ----------
    path
        The capture file, there or not.
    needed
        Bytes, from `forecast_bytes`.

    Raises
    ------
    CaptureError
        Too little space: how much is needed, how much is free, where, and what would make the capture smaller.
    """
    path = Path(path)
    free = shutil.disk_usage(path.parent).free
    if path.is_file():
        free += path.stat().st_blocks * 512
    if needed > free:
        where = path.parent.absolute()
        raise CaptureError(
            f"the capture needs {decimal(needed)}, and {where} has {decimal(free)} free\n"
            "store less with --store-dtype bfloat16, --layers or --tokens, or write to another disk with --output"
        )
