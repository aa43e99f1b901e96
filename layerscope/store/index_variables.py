"""The variables of a capture that its index fills: names, types, and their values in a block of sequences."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from layerscope.store.index import SequenceIndex
from layerscope.store.index_block import IndexBlock
from layerscope.store.metadata import metadata_types
from layerscope.store.schema import (
    CHAR_END,
    CHAR_START,
    GENERATED,
    INDEX_DTYPES,
    POSITION,
    ROLE,
    SEQUENCE,
    SEQUENCE_ID,
    SEQUENCE_INDEX,
    SEQUENCE_LENGTH,
    TEXT_HASH,
    TOKEN,
    TOKEN_ID,
    TOKEN_STRING,
)
from layerscope.texts.text import Metadata

__all__ = ["IndexVariable", "TokenStrings", "index_variables"]

TokenStrings = Callable[[list[int]], list[str]]
"""Returns the names of token ids."""

_TEXT = h5py.string_dtype()
_BOOLEAN = np.dtype(bool)


@dataclass(frozen=True)
class IndexVariable:
    """A variable over ``token`` or ``sequence``.

    Attributes
    ----------
    name, dimension
        Its name and its dimension.
    dtype
        The type of its values; booleans are stored as xarray stores them, in int8.
    values
        Returns its values in a block.
    """

    name: str
    dimension: str
    dtype: np.dtype[Any]
    values: Callable[[IndexBlock], Any]

    def create(self, file: h5py.File, size: int) -> h5py.Dataset:
        """Create the variable, without values."""
        dataset = file.create_dataset(self.name, shape=(size,), dtype=np.int8 if self.dtype == _BOOLEAN else self.dtype)
        if self.dtype == _BOOLEAN:
            dataset.attrs["dtype"] = "bool"
        return dataset

    def write(self, file: h5py.File, block: IndexBlock) -> None:
        """Write the values of a block."""
        first, count = block.extent[self.dimension]
        if count:
            file[self.name][first : first + count] = self.values(block)


def index_variables(index: SequenceIndex, token_strings: TokenStrings | None) -> Iterator[IndexVariable]:
    """Yield the variables that an index fills; those of the tokens' names where `token_strings` gives them."""
    yield _numbers(SEQUENCE_INDEX, TOKEN, lambda block: block.sequence_index)
    yield _numbers(POSITION, TOKEN, lambda block: block.position)
    yield _numbers(TOKEN_ID, TOKEN, lambda block: block.token_id)
    yield IndexVariable(SEQUENCE_ID, SEQUENCE, _TEXT, lambda block: block.sequence_id)
    yield _numbers(SEQUENCE_LENGTH, SEQUENCE, lambda block: block.sequence_length)
    if index.spans:
        yield _numbers(CHAR_START, TOKEN, lambda block: block.spans[:, 0])
        yield _numbers(CHAR_END, TOKEN, lambda block: block.spans[:, 1])
        yield _numbers(TEXT_HASH, SEQUENCE, lambda block: block.text_hash)
    if index.roles is not None:
        yield IndexVariable(ROLE, TOKEN, _TEXT, lambda block: block.role)
    if index.generated:
        yield IndexVariable(GENERATED, TOKEN, _BOOLEAN, lambda block: block.generated)
    for name, kind in metadata_types(index).items():
        yield IndexVariable(name, SEQUENCE, kind.dtype, _metadata(name, kind.array))
    if token_strings is not None:
        yield IndexVariable(TOKEN_STRING, TOKEN, _TEXT, lambda block: token_strings(block.token_id.tolist()))


def _numbers(name: str, dimension: str, values: Callable[[Any], Any]) -> IndexVariable:
    return IndexVariable(name, dimension, INDEX_DTYPES[name], values)


def _metadata(name: str, as_array: Callable[[Iterator[Metadata]], Any]) -> Callable[[IndexBlock], Any]:
    def values(block: IndexBlock) -> Any:
        records: list[Mapping[str, Metadata]] = block.metadata
        return as_array(record.get(name) for record in records)

    return values
