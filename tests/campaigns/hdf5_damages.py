"""Damage an HDF5 file in place with h5py. Each function takes a path and a random generator."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from tests.campaigns.damages import Damage, flip_bytes, flip_header, truncate, zero_block

HUGE = 2**40


def delete_variable(path: Path, draw: random.Random) -> None:
    with h5py.File(path, "r+") as file:
        del file[draw.choice(list(file))]


def delete_attribute(path: Path, draw: random.Random) -> None:
    with h5py.File(path, "r+") as file:
        attrs = _item(file, draw).attrs
        for name in draw.sample(list(attrs), min(len(attrs), draw.choice((1, 1, 20)))):
            del attrs[name]


def change_attribute(path: Path, draw: random.Random) -> None:
    with h5py.File(path, "r+") as file:
        attrs = _item(file, draw).attrs
        if not attrs:
            attrs = file.attrs
        name = draw.choice(list(attrs))
        del attrs[name]
        attrs[name] = draw.choice(
            (
                0,
                -1,
                2**62,
                1.5,
                float("nan"),
                "",
                "other",
                "x" * 60_000,
                b"\xff\xfe",
                [1, 2, 3],
                ["a", "b"],
                h5py.Empty("f"),
            )
        )


def swap_attributes(path: Path, draw: random.Random) -> None:
    with h5py.File(path, "r+") as file:
        names = draw.sample(list(file.attrs), 2)
        first, second = (file.attrs[name] for name in names)
        file.attrs[names[0]], file.attrs[names[1]] = second, first


def spoil_json(path: Path, draw: random.Random) -> None:
    texts = (
        "{",
        "no JSON",
        "[" * 20_000,
        '{"a":' * 20_000,
        "null",
        "[1]",
        '{"command": 3}',
        "1" * 10_000,
        '{"a": NaN}',
    )
    with h5py.File(path, "r+") as file:
        places = [(file, "provenance")] + [(file, "settings")] * ("settings" in file.attrs)
        if "token" in file and "settings" in file["token"].attrs:
            places.append((file["token"], "settings"))
        where, name = draw.choice(places)
        where.attrs[name] = draw.choice(texts)


def change_type(path: Path, draw: random.Random) -> None:
    def changed(values: np.ndarray) -> object:
        kind = draw.randrange(6)
        numbers = np.zeros(values.shape) if values.dtype.kind not in "fiu" else values
        if kind == 0:
            return values.astype(str).astype(object)
        if kind == 1:
            return np.nan_to_num(numbers).clip(-9, 9).astype(np.int8)
        if kind == 2:
            return numbers.astype(np.float16)
        if kind == 3:
            return numbers.astype(np.complex64)
        if kind == 4:
            return np.zeros(values.shape, [("a", "i4"), ("b", "f8")])
        return np.full(values.shape, b"\xff\xfe\xfd")

    _replace(path, draw, changed)


def change_shape(path: Path, draw: random.Random) -> None:
    def changed(values: np.ndarray) -> np.ndarray:
        kind = draw.randrange(5)
        if kind == 0:
            return values.T.copy() if values.ndim > 1 else values[:0]
        if kind == 1:
            return values[: len(values) // 2]
        if kind == 2:
            return np.concatenate([values, values])
        if kind == 3:
            return values[None]
        return values.reshape(-1)[0]

    _replace(path, draw, changed)


def change_values(path: Path, draw: random.Random) -> None:
    """Replace values by meaningless ones of the right type."""

    def changed(values: np.ndarray) -> np.ndarray:
        if values.dtype.kind == "f":
            return np.full_like(values, draw.choice((np.nan, np.inf, -1e300, 0.0)))
        if values.dtype.kind in "iu":
            return np.full_like(values, draw.choice((-1, 0, 2**31 - 1, -(2**31))))
        return np.full(values.shape, draw.choice(("", "999", "skip:9999", "x" * 5000)), object)

    _replace(path, draw, changed)


def soft_link(path: Path, draw: random.Random) -> None:
    with h5py.File(path, "r+") as file:
        name = draw.choice(list(file))
        other = draw.choice(list(file))
        del file[name]
        file[name] = h5py.SoftLink(f"/{other}")


def external_link(path: Path, draw: random.Random) -> None:
    shutil.copy(path, path.with_name("elsewhere.h5"))
    with h5py.File(path, "r+") as file:
        name = draw.choice(list(file))
        del file[name]
        file[name] = h5py.ExternalLink("elsewhere.h5", f"/{name}")


def virtual_dataset(path: Path, draw: random.Random) -> None:
    shutil.copy(path, path.with_name("elsewhere.h5"))
    with h5py.File(path, "r+") as file:
        name, dataset = _dataset(file, draw)
        layout = h5py.VirtualLayout(dataset.shape, dataset.dtype)
        layout[...] = h5py.VirtualSource("elsewhere.h5", name, dataset.shape)
        kept = dict(dataset.attrs)
        del file[name]
        file.create_virtual_dataset(name, layout)
        _attach(file, name, kept)


def external_storage(path: Path, draw: random.Random) -> None:
    with h5py.File(path, "r+") as file:
        name, dataset = _dataset(file, draw, numbers=True)
        values, kept = dataset[...], dict(dataset.attrs)
        path.with_name("raw.bin").write_bytes(values.tobytes())
        del file[name]
        file.create_dataset(name, values.shape, values.dtype, external=[("raw.bin", 0, h5py.h5f.UNLIMITED)])
        _attach(file, name, kept)


def huge_dimension(path: Path, draw: random.Random) -> None:
    with h5py.File(path, "r+") as file:
        name, dataset = _dataset(file, draw)
        shape, dtype, kept = list(dataset.shape) or [1], dataset.dtype, dict(dataset.attrs)
        shape[draw.randrange(len(shape))] = HUGE
        del file[name]
        chunks = tuple(min(size, 64) for size in shape) if draw.random() < 0.6 else None
        options = {"compression": "gzip"} if chunks and draw.random() < 0.5 else {}
        file.create_dataset(name, tuple(shape), dtype, chunks=chunks, **options)
        _attach(file, name, kept)


def group_instead(path: Path, draw: random.Random) -> None:
    with h5py.File(path, "r+") as file:
        name = draw.choice(list(file))
        del file[name]
        file.create_group(name)


def sequence_instead(path: Path, draw: random.Random) -> None:
    with h5py.File(path, "r+") as file:
        name, dataset = _dataset(file, draw)
        shape = dataset.shape
        del file[name]
        file.create_dataset(name, shape, h5py.vlen_dtype(np.float32))


OF_HDF5: dict[str, Damage] = {
    damage.__name__: damage
    for damage in (
        flip_bytes,
        flip_header,
        zero_block,
        truncate,
        delete_variable,
        delete_attribute,
        change_attribute,
        swap_attributes,
        spoil_json,
        change_type,
        change_shape,
        change_values,
        soft_link,
        external_link,
        virtual_dataset,
        external_storage,
        huge_dimension,
        group_instead,
        sequence_instead,
    )
}


def _item(file: h5py.File, draw: random.Random) -> h5py.HLObject:
    return file if draw.random() < 0.4 else file[draw.choice(list(file))]


def _dataset(file: h5py.File, draw: random.Random, numbers: bool = False) -> tuple[str, h5py.Dataset]:
    names = [name for name in file if not numbers or file[name].dtype.kind in "fiu"]
    name = draw.choice(names)
    return name, file[name]


def _replace(path: Path, draw: random.Random, changed: Callable[[np.ndarray], object]) -> None:
    with h5py.File(path, "r+") as file:
        name, dataset = _dataset(file, draw)
        text = h5py.check_string_dtype(dataset.dtype) is not None
        values, kept = dataset.asstr()[...] if text else dataset[...], dict(dataset.attrs)
        new = changed(values)
        del file[name]
        text = np.asarray(new).dtype.kind in "OU"
        file.create_dataset(name, data=new, dtype=h5py.string_dtype() if text else None)
        _attach(file, name, kept)


def _attach(file: h5py.File, name: str, kept: dict[str, object]) -> None:
    """Give a new dataset the plain attributes and, where possible, the dimensions of the old one."""
    for key, value in kept.items():
        if key not in ("DIMENSION_LIST", "REFERENCE_LIST", "CLASS", "NAME"):
            file[name].attrs[key] = value
    if "CLASS" in kept:
        file[name].make_scale(name)
        return
    for other in file:
        if other != name and h5py.h5ds.is_scale(file[other].id):
            for axis, size in enumerate(file[name].shape):
                if file[other].shape == (size,) and not len(file[name].dims[axis]):
                    file[name].dims[axis].attach_scale(file[other])
