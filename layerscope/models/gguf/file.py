"""Read the keys and tensors of a GGUF file, and record which keys were read, so that none is overlooked.

Independent of model families and tokenizers.
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
        The path of the file.
    architecture
        The name of the model family in the file; the first part of the keys that describe the model.
    tensors
        The tensors by name, not read yet.
    read
        Names of the tensors whose values were read.
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
            The file is not GGUF, or has another byte order. Errors of the reader on a damaged file pass through.
        """
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise ModelError(f"{path}: not a GGUF file (its first bytes are not 'GGUF')")
        reader = gguf.GGUFReader(path)
        if reader.byte_order != "I":
            raise ModelError(
                f"{path}: the byte order of the file is not that of this machine (big-endian): convert it again"
            )
        keys = {name: field.contents() for name, field in reader.fields.items()}
        return cls(path, keys, {tensor.name: tensor for tensor in reader.tensors})

    def get(self, key: str, default: Any = _REQUIRED) -> Any:
        """Return the value of a key, and count the key as read.

        Raises
        ------
        ModelError
            The key is missing and there is no default.
        """
        self._asked.add(key)
        value = self._keys.get(key, default)
        if value is _REQUIRED:
            raise ModelError(f"{self.path}: the key {key} is missing, and the model cannot be built without it")
        return value

    def get_own(self, key: str, default: Any = _REQUIRED) -> Any:
        """Return the value of a key of the model family: `get` with the architecture as a prefix.

        Raises
        ------
        ModelError
            The key is missing and there is no default, or its value differs between blocks.
        """
        value = self.get(f"{self.architecture}.{key}", default)
        if not isinstance(value, list):
            return value
        if len(set(value)) != 1:
            raise self.value_error(key, "differs between blocks")
        return value[0]

    def value_error(self, key: str, why: str) -> ModelError:
        """Return the error for a key of the model family with an impossible value."""
        name = f"{self.architecture}.{key}"
        return ModelError(f"{self.path}: the key {name} = {self._keys.get(name)} {why}")

    def unused_keys(self) -> dict[str, Any]:
        """Return the keys that were never read, with their values."""
        return {key: value for key, value in self._keys.items() if key not in self._asked}

    def shape(self, tensor: str) -> tuple[int, ...]:
        """Return the shape of a tensor, rows first."""
        return tuple(int(size) for size in reversed(self.tensors[tensor].shape))

    def values(self, tensor: str) -> np.ndarray:
        """Return a tensor as float32."""
        self.tensors_read.add(tensor)
        found = self.tensors[tensor]
        values: np.ndarray = dequantize(found.data, found.tensor_type)
        return values.astype(np.float32, copy=False).reshape(self.shape(tensor))


def count_and_name(found: Iterable[str], what: str, how: str) -> str:
    """Return the number of things and the names of the first few.

    Examples
    --------
    >>> count_and_name((f"blk.{block}.attn_q.bias" for block in range(9)), "tensor", "missing")
    '9 tensors missing (blk.0.attn_q.bias, blk.1.attn_q.bias, blk.2.attn_q.bias, blk.3.attn_q.bias, blk.4.attn_q.bias, …)'
    """
    found = sorted(found)
    shown = ", ".join(found[:_SHOWN]) + (", …" if len(found) > _SHOWN else "")
    return f"{len(found)} {what}{'s' * (len(found) != 1)} {how} ({shown})"
