"""Create a capture file with everything except its rows.

All of HDF5's metadata is written here, once. The states get their place on disk at once (early allocation) without fill values,
so that rows can be written later without a change of HDF5's metadata. This is what makes a kill at any moment harmless: see
`layerscope.store.writer`.
"""

import json
import os
from collections.abc import Mapping

import h5py
import numpy as np

from layerscope.errors import CaptureError
from layerscope.store.bfloat16 import file_type
from layerscope.store.checksums import commit_record, header_checksum, index_checksum, placement_checksum
from layerscope.store.index import SequenceIndex
from layerscope.store.index_variables import TokenStrings, index_variables
from layerscope.store.layout import CaptureLayout, Setting, stored_metadata
from layerscope.store.locking import open_lockable
from layerscope.store.schema import (
    BLOCK,
    BLOCK_NAME,
    CHECKSUM,
    COMMITTED,
    COMPLETE,
    COORDINATES,
    FEATURE,
    FILE_ATTRIBUTES,
    FINAL_NORM,
    INDEX_CHECKSUM,
    INDEX_DTYPES,
    LAYER,
    LAYER_NAME,
    PLACEMENT_CHECKSUM,
    SEQUENCE,
    SETTINGS,
    STATES,
    TOKEN,
    Attribute,
    chunk_tokens,
    dimension_only,
    plain_attributes,
)

__all__ = ["create_capture_file"]


def create_capture_file(
    path: str | os.PathLike[str],
    layout: CaptureLayout,
    index: SequenceIndex,
    attributes: Mapping[str, Attribute],
    settings: Mapping[str, Setting],
    token_strings: TokenStrings | None = None,
) -> None:
    """Write a capture file with everything except its rows, marked as incomplete.

    Parameters
    ----------
    path
        The output path; an existing file is replaced.
    layout
        What a row consists of.
    index
        The sequences and which of their tokens are rows.
    attributes
        The attributes of the contract, all but ``complete``.
    settings
        The settings that must match on resume; JSON values.
    token_strings
        Names the tokens, for a layout with token strings.

    Raises
    ------
    CaptureError
        There are no rows to store.
    """
    if layout.spans != index.spans:
        raise ValueError(f"spans: {layout.spans} in the layout, {index.spans} in the index")
    if not index.rows:
        raise CaptureError("the texts have no tokens to store\ngive texts that are not empty")
    wanted = set(FILE_ATTRIBUTES) - {COMPLETE}
    if wanted != set(attributes):
        raise ValueError(f"attributes of a capture: missing or unknown {sorted(wanted ^ set(attributes))}")
    with open_lockable(path, "w", libver="earliest") as file:
        _write_dimensions(file, layout, index)
        _write_index(file, index, token_strings)
        _allocate_states(file, layout, index.rows)
        for name, value in plain_attributes(attributes).items():
            file.attrs[name] = value
        file.attrs[COMPLETE] = np.int64(0)
        _write_private(file, plain_attributes(attributes), json.dumps(dict(settings), sort_keys=True))


def _write_private(file: h5py.File, attributes: Mapping[str, Attribute], settings: str) -> None:
    """Write the settings, the count of committed rows, and the checksums of everything written so far."""
    index = index_checksum(file, stored_metadata(settings))
    checksum = header_checksum(file, attributes, settings, index)
    private = file[TOKEN].attrs
    private[COMMITTED] = commit_record(checksum, 0, 0)
    private[SETTINGS] = settings
    private[CHECKSUM], private[INDEX_CHECKSUM] = checksum, index
    private[PLACEMENT_CHECKSUM] = placement_checksum(file)


def _write_dimensions(file: h5py.File, layout: CaptureLayout, index: SequenceIndex) -> None:
    for dimension, numbers in ((LAYER, layout.layer), (BLOCK, layout.block)):
        if numbers:
            file.create_dataset(dimension, data=np.array(numbers), dtype=INDEX_DTYPES[dimension]).make_scale(dimension)
    for name, size in ((TOKEN, index.rows), (FEATURE, layout.width), (SEQUENCE, index.sequences)):
        # Never written, so it uses no space: HDF5 allocates contiguous datasets with their first number.
        file.create_dataset(name, shape=(size,), dtype=">f4").make_scale(dimension_only(size))
    for name, dimension, texts in ((LAYER_NAME, LAYER, layout.layer_name), (BLOCK_NAME, BLOCK, layout.block_name)):
        if texts:
            _on_dimensions(file, file.create_dataset(name, data=list(texts), dtype=h5py.string_dtype()), dimension)


def _write_index(file: h5py.File, index: SequenceIndex, token_strings: TokenStrings | None) -> None:
    """Write what the index knows of each row and each sequence, in one pass over its files."""
    variables = list(index_variables(index, token_strings))
    sizes = {TOKEN: index.rows, SEQUENCE: index.sequences}
    for variable in variables:
        _on_dimensions(file, variable.create(file, sizes[variable.dimension]), variable.dimension)
    for block in index.blocks():
        for variable in variables:
            variable.write(file, block)


def _allocate_states(file: h5py.File, layout: CaptureLayout, tokens: int) -> None:
    in_chunk = chunk_tokens(tokens, layout.width, layout.store_dtype.itemsize)
    for name, held in layout.variables.items():
        between = () if name == FINAL_NORM else (len(held),)
        shape = (tokens, *between, layout.width)
        states = _allocated(file, name, layout, shape, (in_chunk, *(1 for _ in between), layout.width))
        _on_dimensions(file, states, TOKEN, *(STATES[name][0] for _ in between), FEATURE)


def _allocated(
    file: h5py.File, name: str, layout: CaptureLayout, shape: tuple[int, ...], chunk: tuple[int, ...]
) -> h5py.Dataset:
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk(chunk)
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    plan.set_obj_track_times(False)  # as h5py does: two equal captures are equal files
    space = h5py.h5s.create_simple(shape)
    states = h5py.Dataset(h5py.h5d.create(file.id, name.encode(), file_type(layout.store_dtype), space, plan))
    states.attrs["coordinates"] = COORDINATES[name]
    return states


def _on_dimensions(file: h5py.File, dataset: h5py.Dataset, *dimensions: str) -> None:
    for axis, name in enumerate(dimensions):
        dataset.dims[axis].attach_scale(file[name])
