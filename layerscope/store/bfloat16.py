"""Store bfloat16 as an HDF5 type, and move states between HDF5 and torch bit by bit.

HDF5 can describe any binary float. With 16 bits, the sign at bit 15, eight exponent bits from bit 7, seven mantissa bits from
bit 0 and a bias of 127, every program (h5py, h5netcdf, xarray, netCDF4) reads the numbers as float32. This is exact, because
float32 contains every bfloat16. The conversion runs number by number. When the memory type equals the file type, HDF5 copies
the raw bits instead, tens of times faster, and torch views them as bfloat16.

Round in torch only: HDF5's conversion to this type rounds ties away from zero and saturates.
This module does not depend on dataset names.
"""

import h5py
import numpy as np
import torch
from jaxtyping import Float

__all__ = ["file_type", "is_bfloat16", "read_raw", "stored_dtype", "write_raw"]


def _bfloat16_type() -> h5py.h5t.TypeFloatID:
    bfloat16 = h5py.h5t.IEEE_F32LE.copy()
    bfloat16.set_fields(15, 7, 8, 0, 7)  # sign; position and size of the exponent; of the mantissa
    bfloat16.set_size(2)
    bfloat16.set_ebias(127)
    return bfloat16


_FILE_TYPES = {
    torch.float64: h5py.h5t.IEEE_F64LE,
    torch.float32: h5py.h5t.IEEE_F32LE,
    torch.float16: h5py.h5t.IEEE_F16LE,
    torch.bfloat16: _bfloat16_type(),
}


def file_type(dtype: torch.dtype) -> h5py.h5t.TypeFloatID:
    """Return the HDF5 type with the same bits as a torch dtype."""
    return _FILE_TYPES[dtype]


def is_bfloat16(hdf5_type: h5py.h5t.TypeID) -> bool:
    """Return whether an HDF5 type is bfloat16, in either byte order.

    Examples
    --------
    >>> is_bfloat16(file_type(torch.bfloat16)), is_bfloat16(file_type(torch.float16))
    (True, False)
    """
    return (
        isinstance(hdf5_type, h5py.h5t.TypeFloatID)
        and hdf5_type.get_size() == 2
        and hdf5_type.get_fields() == (15, 7, 8, 0, 7)
        and hdf5_type.get_ebias() == 127
    )


def stored_dtype(dataset: h5py.Dataset) -> torch.dtype | None:
    """Return the torch dtype of the numbers in a dataset, or None if torch lacks a float type for them.

    h5py reports a bfloat16 dataset as float32, the type that it converts to.
    """
    if is_bfloat16(dataset.id.get_type()):
        return torch.bfloat16
    by_numpy = {"float64": torch.float64, "float32": torch.float32, "float16": torch.float16}
    return by_numpy.get(dataset.dtype.name)


def read_raw(dataset: h5py.Dataset, start: int, into: Float[torch.Tensor, "..."]) -> None:
    """Fill a contiguous tensor with consecutive rows (first axis) from `start` on, without conversion.

    Parameters
    ----------
    dataset
        A dataset with the dtype of `into`.
    start
        First row.
    into
        The tensor to fill; ``into.shape[1:]`` equals ``dataset.shape[1:]``.
    """
    bits = into.view(torch.int16).numpy() if into.dtype == torch.bfloat16 else into.numpy()
    in_file = dataset.id.get_space()
    in_file.select_hyperslab((start, *[0] * (into.ndim - 1)), tuple(into.shape))
    dataset.id.read(h5py.h5s.create_simple(tuple(into.shape)), in_file, bits, mtype=file_type(into.dtype))


def write_raw(dataset: h5py.Dataset, rows: Float[torch.Tensor, "..."]) -> None:
    """Write a whole dataset without conversion: the inverse of `read_raw`, for small files.

    Examples
    --------
    >>> states = torch.tensor([1.0, -0.0, 3.0e38]).to(torch.bfloat16)
    >>> with h5py.File("example", "w", driver="core", backing_store=False) as file:
    ...     space = h5py.h5s.create_simple((3,))
    ...     dataset = h5py.Dataset(h5py.h5d.create(file.id, b"states", file_type(torch.bfloat16), space))
    ...     write_raw(dataset, states)
    ...     again = torch.empty(3, dtype=torch.bfloat16)
    ...     read_raw(dataset, 0, again)
    ...     str(dataset.dtype), torch.equal(again, states), dataset[2] == states[2].float().item()
    ('float32', True, np.True_)
    """
    bits = rows.contiguous()
    plain: np.ndarray = bits.view(torch.int16).numpy() if bits.dtype == torch.bfloat16 else bits.numpy()
    dataset.id.write(h5py.h5s.ALL, h5py.h5s.ALL, plain, mtype=file_type(rows.dtype))
