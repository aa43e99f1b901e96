from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from layerscope.store.bfloat16 import file_type, is_bfloat16, read_raw, stored_dtype, write_raw

ALL_BITS = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)


def make(file: h5py.File, numbers: torch.Tensor) -> h5py.Dataset:
    space = h5py.h5s.create_simple(tuple(numbers.shape))
    dataset = h5py.Dataset(h5py.h5d.create(file.id, b"numbers", file_type(numbers.dtype), space))
    write_raw(dataset, numbers)
    return dataset


def widened(bits: np.ndarray) -> np.ndarray:
    """bfloat16 is the upper half of a float32: the oracle needs neither torch nor HDF5."""
    return (bits.view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def test_every_bfloat16_comes_back_bit_by_bit_and_is_read_exactly_by_plain_h5py(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "all.h5", "w") as file:
        make(file, ALL_BITS.view(torch.bfloat16))
    with h5py.File(tmp_path / "all.h5") as file:
        dataset = file["numbers"]
        again = torch.empty(2**16, dtype=torch.bfloat16)
        read_raw(dataset, 0, again)
        assert torch.equal(again.view(torch.int16), ALL_BITS)
        assert dataset.dtype == np.float32
        assert dataset.id.get_type().get_size() == 2
        got, expected = dataset[...], widened(ALL_BITS.numpy())
    number = ~np.isnan(expected)
    assert np.array_equal(got.view(np.uint32)[number], expected.view(np.uint32)[number])  # -0.0 and subnormals too
    assert np.isnan(got[~number]).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_raw_rows_of_every_type(tmp_path: Path, dtype: torch.dtype) -> None:
    numbers = torch.randn(7, 3, 2).to(dtype)
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        dataset = make(file, numbers)
        assert stored_dtype(dataset) == dtype
        assert is_bfloat16(dataset.id.get_type()) == (dtype == torch.bfloat16)
        rows = torch.empty(4, 3, 2, dtype=dtype)
        read_raw(dataset, 2, rows)
    assert torch.equal(rows, numbers[2:6])


def test_other_numbers_are_not_taken_for_bfloat16(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "others.h5", "w") as file:
        for name in ("int16", "uint16", "float16", "int32"):
            assert not is_bfloat16(file.create_dataset(name, data=np.zeros(2, name)).id.get_type())
        assert stored_dtype(file["int16"]) is None
        seven = file_type(torch.bfloat16).copy()
        seven.set_fields(15, 8, 7, 0, 8)  # one exponent bit fewer, one mantissa bit more
        assert seven.get_ebias() == 127
        assert not is_bfloat16(seven)
        assert stored_dtype(file.create_dataset("text", data="text")) is None


def test_the_other_byte_order_is_bfloat16_too(tmp_path: Path) -> None:
    big = file_type(torch.bfloat16).copy()
    big.set_order(h5py.h5t.ORDER_BE)
    numbers = torch.tensor([1.0, -2.5, 3.0e38, 1e-40]).to(torch.bfloat16)
    with h5py.File(tmp_path / "big.h5", "w") as file:
        dataset = h5py.Dataset(h5py.h5d.create(file.id, b"numbers", big, h5py.h5s.create_simple((4,))))
        dataset.id.write(h5py.h5s.ALL, h5py.h5s.ALL, numbers.view(torch.int16).numpy().byteswap(), mtype=big)
        assert stored_dtype(dataset) == torch.bfloat16
        again = torch.empty(4, dtype=torch.bfloat16)
        read_raw(dataset, 0, again)
    assert torch.equal(again, numbers)
