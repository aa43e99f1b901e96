"""What measures read: consecutive rows of a capture as torch tensors."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int

from layerscope.errors import FileError
from layerscope.store.schema import Attribute
from layerscope.store.spans import Spans
from layerscope.stream_names import STREAMS

__all__ = ["Sequences", "StateSource", "check_row_range", "missing_stream", "precision_of"]


class Sequences(NamedTuple):
    """The ids of the texts of a capture, and the number of tokens that ran of each."""

    id: list[str]
    length: Int[np.ndarray, " sequence"]


@runtime_checkable
class StateSource(Protocol):
    """Token rows of all captured states, read in order and in pieces of any size.

    Attributes
    ----------
    name
        The path, or ``dataset``, for messages.
    layer, layer_name
        The numbers and names of the states; of the blocks, if the rows are what attention or MLP adds.
    width
        Features of a state.
    dtype
        In which rows come: float64 if they are stored so, else float32.
    precision
        The relative spacing (machine epsilon) of the numbers in which the states were computed or stored, the coarser one.
    sequence_index, position, token_id
        Of every row.
    attrs
        Of the file or Dataset, as plain str, int and float.
    """

    name: str
    layer: Int[np.ndarray, " layer"]
    layer_name: list[str]
    width: int
    dtype: torch.dtype
    precision: float
    sequence_index: Int[np.ndarray, " token"]
    position: Int[np.ndarray, " token"]
    token_id: Int[np.ndarray, " token"]
    attrs: dict[str, Attribute]

    @property
    def added(self) -> "Mapping[str, StateSource]":
        """Other streams of the same rows, by name."""
        ...

    def read(
        self, start: int, stop: int, out: Float[torch.Tensor, "token layer feature"] | None = None
    ) -> Float[torch.Tensor, "token layer feature"]:
        """Return the rows from `start` up to `stop`; in `out`, if given, which must have just that shape and `dtype`.

        New memory costs more than the reading: to read a file in pieces, pass the same `out` each time.
        """
        ...

    def sequences(self) -> Sequences | None:
        """Return the texts, which `sequence_index` numbers, or None if they are not known."""
        ...

    def spans(self) -> Spans | None:
        """Return the characters of all rows in their texts, or None if the capture lacks spans."""
        ...


def missing_stream(name: str, stream: str, held: Iterable[str]) -> FileError:
    """Return the error of a capture that has other streams than the one requested."""
    streams = [one for one, variable in STREAMS.items() if variable in set(held)]
    return FileError(
        f"{name} does not hold the stream {stream}: it was captured with --streams {','.join(streams)}\n"
        f"name one of these with --stream, or capture again with --streams {','.join([*streams, stream])}"
    )


def precision_of(stored: torch.dtype, attrs: dict[str, Attribute]) -> float:
    """Return the machine epsilon of the coarser of two types: that of the numbers, and that of the computation."""
    computed = getattr(torch, str(attrs.get("compute_dtype")), stored)
    types = [stored, computed] if isinstance(computed, torch.dtype) else [stored]
    return max(torch.finfo(dtype).eps for dtype in types if dtype.is_floating_point)


def check_row_range(start: int, stop: int, tokens: int) -> tuple[int, int]:
    """Return a range of rows unchanged; raise IndexError if it exceeds the number of tokens."""
    if not 0 <= start <= stop <= tokens:
        raise IndexError(f"rows {start} to {stop} of {tokens}")
    return start, stop
