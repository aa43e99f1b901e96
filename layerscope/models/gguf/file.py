"""A GGUF file as keys and tensors that remembers which keys were asked for, so that none is overlooked.

Knows no model family and no tokenizer.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf.quants import dequantize

from layerscope.errors import ModelError

__all__ = ["GGUFFile", "count_and_name"]

_MAGIC = b"GGUF"
_SHOWN = 5  # names in a message, at most
_REQUIRED = object()


class GGUFFile:
    """The metadata and the tensors of one file.

    Attributes
    ----------
    path
        Of the file.
    architecture
        What the file calls its model family; the first part of the keys that describe the model.
    tensors
        By name, not yet read.
    read
        Names of the tensors whose values were asked for.
    """

    def __init__(self, path: Path, keys: Mapping[str, Any], tensors: Mapping[str, gguf.ReaderTensor]) -> None:
        self.path = path
        self.tensors = tensors
        self._keys = keys
        self.tensors_read: set[str] = set()
        self._asked: set[str] = set()
        self.architecture = str(self.get("general.architecture"))

    @classmethod
    def open(cls, path: Path) -> "GGUFFile":
        """Read the metadata of a file.

        Raises
        ------
        ModelError
            It is not GGUF, or of another byte order. Whatever a damaged file makes the reader raise passes through.
        """
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise ModelError(f"{path}: not a GGUF file (its first bytes are not 'GGUF')")
        reader = gguf.GGUFReader(path)
        if reader.byte_order != "I":
            raise ModelError(
                f"{path}: stored in the other byte order (big-endian) than this machine's; convert it anew"
            )
        keys = {name: field.contents() for name, field in reader.fields.items()}
        return cls(path, keys, {tensor.name: tensor for tensor in reader.tensors})

    def get(self, key: str, default: Any = _REQUIRED) -> Any:
        """Return the value of a key, and count the key as applied.

        Raises
        ------
        ModelError
            There is no such key and no default.
        """
        self._asked.add(key)
        value = self._keys.get(key, default)
        if value is _REQUIRED:
            raise ModelError(f"{self.path}: lacks the key {key}, without which the model cannot be built")
        return value

    def get_own(self, key: str, default: Any = _REQUIRED) -> Any:
        """Return the value of a key of the model family: `get` with the architecture's name in front.

        Raises
        ------
        ModelError
            There is no such key and no default, or its value differs from block to block.
        """
        value = self.get(f"{self.architecture}.{key}", default)
        if not isinstance(value, list):
            return value
        if len(set(value)) != 1:
            raise self.value_error(key, "differs from block to block")
        return value[0]

    def value_error(self, key: str, why: str) -> ModelError:
        """Make the error for a key of the model family whose value the model cannot have."""
        name = f"{self.architecture}.{key}"
        return ModelError(f"{self.path}: the key {name} = {self._keys.get(name)} {why}")

    def unused_keys(self) -> dict[str, Any]:
        """Return the keys that nothing has asked for, with their values."""
        return {key: value for key, value in self._keys.items() if key not in self._asked}

    def shape(self, tensor: str) -> tuple[int, ...]:
        """Return the shape of a tensor in the order of rows and columns."""
        return tuple(int(size) for size in reversed(self.tensors[tensor].shape))

    def values(self, tensor: str) -> np.ndarray:
        """Return a tensor as float32."""
        self.tensors_read.add(tensor)
        found = self.tensors[tensor]
        values: np.ndarray = dequantize(found.data, found.tensor_type)
        return values.astype(np.float32, copy=False).reshape(self.shape(tensor))


def count_and_name(found: Iterable[str], what: str, how: str) -> str:
    """Say how many there are of something, and name the first few.

    Examples
    --------
    >>> count_and_name((f"blk.{block}.attn_q.bias" for block in range(9)), "tensor", "missing")
    '9 tensors missing (blk.0.attn_q.bias, blk.1.attn_q.bias, blk.2.attn_q.bias, blk.3.attn_q.bias, blk.4.attn_q.bias, …)'
    """
    found = sorted(found)
    shown = ", ".join(found[:_SHOWN]) + (", …" if len(found) > _SHOWN else "")
    return f"{len(found)} {what}{'s' * (len(found) != 1)} {how} ({shown})"
