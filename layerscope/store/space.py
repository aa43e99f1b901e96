"""Forecast the size of a capture file, and check the free disk space."""

import math
import os
import shutil
from pathlib import Path

import torch
from rich.filesize import decimal

from layerscope.errors import CaptureError
from layerscope.store.schema import INDEX_DTYPES, POSITION, SEQUENCE_INDEX, SEQUENCE_LENGTH, TOKEN_ID, chunk_tokens

__all__ = ["check_space", "forecast_bytes", "free_bytes"]

_ROW_INDEX_BYTES = sum(INDEX_DTYPES[name].itemsize for name in (SEQUENCE_INDEX, POSITION, TOKEN_ID))
_SEQUENCE_BYTES = INDEX_DTYPES[SEQUENCE_LENGTH].itemsize + 64  # with its id, in HDF5's heap
_CHUNK_ADDRESS_BYTES = 96  # in HDF5's B-tree, whose nodes are partly empty
_FIXED_BYTES = 64 * 1024  # headers, attributes, provenance


def forecast_bytes(
    tokens: int, layers: int, width: int, dtype: torch.dtype, *, final_norm: bool = False, sequences: int = 0
) -> int:
    """Return the size of a capture file in bytes, rounded up: rows, index and HDF5's metadata.

    Parameters
    ----------
    tokens, layers, width
        Number of rows, of states per row, and of features per state.
    dtype
        The storage type.
    final_norm
        Whether the output of the final norm is stored.
    sequences
        Number of texts.

    Examples
    --------
    >>> forecast_bytes(1_000_000, layers=7, width=512, dtype=torch.bfloat16) / 1e9  # Pythia-70m: 7.2 GB
    7.18...
    """
    in_chunk = chunk_tokens(tokens, width, dtype.itemsize)
    chunks = math.ceil(tokens / in_chunk) * (layers + final_norm)
    rows = chunks * (in_chunk * width * dtype.itemsize + _CHUNK_ADDRESS_BYTES)
    return rows + tokens * _ROW_INDEX_BYTES + sequences * _SEQUENCE_BYTES + _FIXED_BYTES


def free_bytes(path: Path) -> int:
    """Return the bytes that a file may have; those of a file that exists count, because a capture reuses or replaces it."""
    held = path.stat().st_blocks * 512 if path.is_file() else 0
    return shutil.disk_usage(path.parent).free + held


def check_space(path: str | os.PathLike[str], needed: int) -> None:
    """Refuse a capture that the disk cannot hold.

    Parameters
    ----------
    path
        The capture file, which need not exist.
    needed
        Number of bytes, from `forecast_bytes`.

    Raises
    ------
    CaptureError
        There is too little space. The message gives the bytes needed and free, and tells how to make the capture smaller.
    """
    path = Path(path)
    free = free_bytes(path)
    if needed > free:
        where = path.parent.absolute()
        raise CaptureError(
            f"the capture needs {decimal(needed)}, and {where} has {decimal(free)} free\n"
            "store less with --store-dtype bfloat16, --layers or --tokens, or write to another disk with --output"
        )
