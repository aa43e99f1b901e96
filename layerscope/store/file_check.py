"""Compare an open HDF5 file with its schema before anything reads it.

A damaged file can request any amount of memory, point to other files, or have another type under a known name. `check_file`
examines the structure only: it reads no data and allocates nothing. The schemas are in the modules that read the files.
"""

import math
from collections.abc import Mapping

import h5py
import numpy as np

from layerscope.errors import FileError
from layerscope.store.file_schema import FileSchema, Holds, Variable, plain_value, text_fault
from layerscope.store.heaps import damaged_heap

__all__ = ["check_file"]

_DEFLATE = 1032  # the highest compression ratio of zlib
_MOST_PARTS = 2**17  # chunks in a file whose heaps are searched; more would take too long
_DIMENSION = b"This is a netCDF dimension but not a netCDF variable"


_CLASSES = {
    h5py.h5t.FLOAT: {Holds.FLOAT, Holds.NUMBER},
    h5py.h5t.INTEGER: {Holds.INTEGER, Holds.NUMBER},
    h5py.h5t.STRING: {Holds.TEXT},
}


def check_file(path: object, file: h5py.File, schema: FileSchema, file_bytes: int) -> None:
    """Refuse a file that does not match its schema.

    Parameters
    ----------
    path
        For messages.
    file
        Open for reading.
    schema
        The schema of the file.
    file_bytes
        Size of the file: no variable may be larger, compression considered.

    Raises
    ------
    FileError
        A variable or attribute is missing, has another type, other dimensions, or no data in this file.
    """
    missing = schema.missing(file)
    missing += [name for name in schema.required_attributes if name not in file.attrs]
    if missing:
        raise FileError(
            f"{path} is no {schema.kind}: it lacks {', '.join(missing)}\n"
            f"give a file made by layerscope {schema.command}"
        )
    fault = _first_fault(file, schema, file_bytes)
    if fault:
        raise FileError(f"{path} is damaged: {fault}\n{schema.remedy}")


def _first_fault(file: h5py.File, schema: FileSchema, file_bytes: int) -> str | None:
    """Return a description of the first fault of a file. Attributes are checked last: their text is in heaps."""
    stored: list[tuple[int, int]] = []
    for name in file:
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            return f"{name} is a link to data elsewhere"
        item = file[name]
        if isinstance(item, h5py.Dataset):
            fault = _type_fault(item, schema.of(name)) or _storage_fault(item, file_bytes)
            if fault:
                return f"{name} {fault}"
            stored += _parts(item)
        elif name in schema.variables:
            return f"{name} is no variable"
    heap = damaged_heap(file.filename, stored) if len(stored) <= _MOST_PARTS else None
    if heap is not None:
        return f"the text at byte {heap} cannot be read"
    fault = _attribute_fault(file, schema.attributes, file_bytes)
    if fault:
        return f"the file's {fault}"
    for name, item in file.items():
        fault = _attribute_fault(item, schema.variable_attributes, file_bytes)
        fault = fault or (_packing(item) if schema.as_stored else None)
        if fault:
            return f"{name}: {fault}"
    return _size_fault(file, schema)


def _parts(dataset: h5py.Dataset) -> list[tuple[int, int]]:
    """Return the parts of the file that hold the data of a variable, as (address, bytes)."""
    parts: list[tuple[int, int]] = []
    if dataset.id.get_create_plist().get_layout() == h5py.h5d.CHUNKED:
        if dataset.id.get_num_chunks() > _MOST_PARTS:
            return [(0, 0)] * (_MOST_PARTS + 1)
        dataset.id.chunk_iter(lambda chunk: parts.append((chunk.byte_offset, chunk.size)))
    elif dataset.id.get_offset() is not None:
        parts.append((dataset.id.get_offset(), dataset.id.get_storage_size()))
    return parts


def _attribute_fault(item: h5py.HLObject, types: Mapping[str, type], file_bytes: int) -> str | None:
    for name in item.attrs:
        attribute = item.attrs.get_id(name)
        if attribute.get_space().get_simple_extent_npoints() * attribute.get_type().get_size() > file_bytes:
            return f"attribute {name} is larger than the file"
        if name not in types and attribute.get_type().get_class() != h5py.h5t.STRING:
            continue
        value = plain_value(item.attrs[name])
        if name in types and not isinstance(value, types[name]):
            return f"attribute {name} is not of type {types[name].__name__}"
        if isinstance(value, str) and (fault := text_fault(value)):
            return f"attribute {name} {fault}"
    return None


def _packing(item: h5py.HLObject) -> str | None:
    """Describe the attribute that makes xarray read other values than the stored ones; a fill value of NaN is allowed."""
    plain = {"scale_factor": 1.0, "add_offset": 0.0}
    for name in ("scale_factor", "add_offset", "_FillValue", "missing_value"):
        if name in item.attrs:
            values = np.asarray(item.attrs[name])
            if name in plain and values.dtype.kind in "iuf" and (values == plain[name]).all():
                continue
            if values.dtype.kind != "f" or not np.isnan(values).all():
                return f"attribute {name} packs or masks its values, which must be stored plainly"
    return None


def _storage_fault(dataset: h5py.Dataset, file_bytes: int) -> str | None:
    """Describe a variable whose data is not completely in this file; the data is not read."""
    plan = dataset.id.get_create_plist()
    # Joined captures will be virtual datasets of our own: this is the place to let those through.
    if plan.get_layout() == h5py.h5d.VIRTUAL or plan.get_external_count():
        return "is stored in other files"
    if _is_dimension_only(dataset):
        return None
    needed, stored = math.prod(dataset.shape) * dataset.id.get_type().get_size(), dataset.id.get_storage_size()
    if stored > file_bytes or needed > stored * (_DEFLATE if plan.get_nfilters() else 1):
        return f"has the shape {dataset.shape} and only {stored} bytes"
    if plan.get_layout() == h5py.h5d.CHUNKED:
        chunks = math.prod(-(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True))
        if dataset.id.get_num_chunks() != chunks:
            return f"has {dataset.id.get_num_chunks()} of its {chunks} chunks"
    elif plan.get_layout() == h5py.h5d.CONTIGUOUS and needed and dataset.id.get_offset() + stored > file_bytes:
        return "is beyond the end of the file"
    return None


def _is_dimension_only(dataset: h5py.Dataset) -> bool:
    """Return whether a dataset only defines the size of a dimension; it has no values and is never read."""
    return "NAME" in dataset.attrs and np.bytes_(dataset.attrs["NAME"]).startswith(_DIMENSION)


def _type_fault(dataset: h5py.Dataset, variable: Variable | None) -> str | None:
    of = dataset.id.get_type().get_class()
    if of not in (*_CLASSES, h5py.h5t.ENUM):
        return "holds neither numbers nor text"
    if variable is None or _is_dimension_only(dataset):
        return None
    if variable.holds not in _CLASSES.get(of, ()):
        return f"has the type {dataset.dtype}, expected {variable.holds}"
    if dataset.ndim != len(variable.dims):
        return f"has the shape {dataset.shape}, expected ({', '.join(variable.dims)})"
    return None


def _dims(variable: Variable, file: h5py.File) -> tuple[str, ...]:
    """Return the dimensions of a variable in this file."""
    own = file.get(variable.dims[0])
    holds_text = isinstance(own, h5py.Dataset) and own.id.get_type().get_class() == h5py.h5t.STRING
    return (variable.may_label,) if variable.may_label and holds_text else variable.dims


def _size_fault(file: h5py.File, schema: FileSchema) -> str | None:
    """Describe a disagreement of two variables in the size of a shared dimension."""
    sizes: dict[str, tuple[int, str]] = {}
    for name in [*(name for name in schema.variables if name in file), *file]:
        variable = schema.of(name)
        if variable is None:
            continue
        for dimension, size in zip(_dims(variable, file), file[name].shape, strict=True):
            first, where = sizes.setdefault(dimension, (size, name))
            if size != first:
                return f"{name} has {size} of {dimension}, {where} has {first}"
    for dimension, (size, where) in sizes.items():
        scale = file.get(dimension)
        if isinstance(scale, h5py.Dataset) and scale.shape != (size,):
            return f"dimension {dimension} has the shape {scale.shape}, {where} has {size}"
    return None
