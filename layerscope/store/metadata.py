"""Store the metadata of the texts: a variable over ``sequence`` for each field.

The values of a field decide the type of its variable:

==============================  ================================  =================
values                          type of the variable              a missing value
==============================  ================================  =================
true and false                  bool                              (then as numbers)
whole numbers                   int64                             (then as numbers)
numbers, or some are missing    float64                           NaN
whole numbers that float64      string                            empty string
would round, some are missing
strings, or of several types    string                            empty string
==============================  ================================  =================
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

import h5py
import numpy as np
from jaxtyping import Shaped

from layerscope.store.index import SequenceIndex
from layerscope.texts.text import Metadata

__all__ = ["MetadataType", "first_other_metadata", "metadata_types"]

_INT64 = range(-(2**63), 2**63)
_EXACT = range(-(2**53), 2**53 + 1)  # whole numbers that float64 holds exactly
_WIDE, _LARGE = "whole number beyond float64", "whole number beyond int64"


class MetadataType(Enum):
    """The type of a variable of metadata."""

    BOOL = "bool"
    INTEGER = "int64"
    NUMBER = "float64"
    TEXT = "string"

    @classmethod
    def of(cls, values: Iterable[Metadata]) -> "MetadataType":
        """Return the type that holds all values.

        Examples
        --------
        >>> [MetadataType.of(values).value for values in ([True], [1, 2], [1, 2.5], [1, None], [2**60, None], ["a", 1])]
        ['bool', 'int64', 'float64', 'float64', 'string', 'string']
        """
        return cls.of_kinds({_kind(value) for value in values})

    @classmethod
    def of_kinds(cls, kinds: set[str]) -> "MetadataType":
        """Return the type that holds values of these kinds."""
        if kinds == {"bool"}:
            return cls.BOOL
        if kinds and kinds <= {"int", _WIDE}:
            return cls.INTEGER
        return cls.TEXT if kinds & {"str", _WIDE, _LARGE} or kinds <= {"NoneType"} else cls.NUMBER

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the values."""
        dtype: np.dtype[Any] = h5py.string_dtype() if self is MetadataType.TEXT else np.dtype(self.value)
        return dtype

    def array(self, values: Iterable[Metadata]) -> Shaped[np.ndarray, " sequence"]:
        """Return values as an array of this type.

        Examples
        --------
        >>> MetadataType.NUMBER.array([1, None]), MetadataType.TEXT.array(["a", 1, None]).tolist()
        (array([ 1., nan]), ['a', '1', ''])
        """
        if self is MetadataType.TEXT:
            return np.array(["" if value is None else str(value) for value in values], dtype=object)
        if self is MetadataType.NUMBER:
            return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
        return np.array(list(values), dtype=np.int8 if self is MetadataType.BOOL else np.int64)


def metadata_types(index: SequenceIndex) -> dict[str, MetadataType]:
    """Return the type of each field; all values are read once, one block of sequences at a time."""
    kinds: dict[str, set[str]] = {name: set() for name in index.metadata}
    if kinds:
        for block in index.blocks():
            for name, seen in kinds.items():
                seen |= {_kind(record.get(name)) for record in block.metadata}
    return {name: MetadataType.of_kinds(seen) for name, seen in kinds.items()}


def _kind(value: Metadata) -> str:
    if type(value) is not int or value in _EXACT:
        return type(value).__name__
    return _WIDE if value in _INT64 else _LARGE


def first_other_metadata(
    file: h5py.File, start: int, records: list[Mapping[str, Metadata]], types: Mapping[str, MetadataType]
) -> tuple[str, int] | None:
    """Return the name and the sequence of the first value that differs from the stored one; None if all match."""
    for name, kind in types.items():
        wanted = kind.array(record.get(name) for record in records)
        dataset = file[name].asstr() if kind is MetadataType.TEXT else file[name]
        stored = np.asarray(dataset[start : start + len(records)])
        same = (stored == wanted) | ((stored != stored) & (wanted != wanted))
        if not same.all():
            return name, start + int(np.flatnonzero(~same)[0])
    return None
