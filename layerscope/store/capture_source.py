"""Rows of a finished capture file as torch tensors.

HDF5 hands over the stored bits and torch widens them, tens of times faster than HDF5's own conversion of bfloat16.
"""

import os
from collections.abc import Iterable
from contextlib import ExitStack
from types import TracebackType

import numpy as np
import torch
from jaxtyping import Float

from layerscope.store.bfloat16 import read_raw
from layerscope.store.chunk_io import RowReader
from layerscope.store.hdf5 import translate_errors
from layerscope.store.header import opened, read_header, require_complete, require_sound_index, sequence_ids
from layerscope.store.locking import open_lockable
from layerscope.store.schema import (
    CAPTURE,
    CHAR_END,
    CHAR_START,
    POSITION,
    SEQUENCE_INDEX,
    SEQUENCE_LENGTH,
    TEXT_HASH,
    TOKEN_ID,
)
from layerscope.store.source import Sequences, check_row_range, missing_stream, precision_of
from layerscope.store.spans import Spans
from layerscope.stream_names import STREAMS

__all__ = ["CaptureSource"]


class CaptureSource:
    """Rows of a finished capture file, by the raw-bits road. A `StateSource`; close it, or use it in a ``with``.

    Parameters
    ----------
    path
        The file.
    stream
        Which of its streams is read: ``resid``, ``attn`` or ``mlp``.
    added
        Other streams, to be read as `added`.

    Raises
    ------
    FileError
        The file is missing, truncated, no capture, or unfinished, or does not hold the stream.
    """

    def __init__(self, path: str | os.PathLike[str], stream: str = "resid", added: Iterable[str] = ()) -> None:
        header = read_header(path)
        require_complete(header)
        self.name = os.fspath(path)
        self._variable = STREAMS[stream]
        if stream not in header.layout.streams:
            raise missing_stream(self.name, stream, header.layout.variables)
        numbers, names = header.layout.axis(stream)
        self.layer = np.array(numbers, dtype=np.int64)
        self.layer_name = list(names)
        self.width = header.layout.width
        self.attrs = header.attributes
        self._stored = header.layout.store_dtype
        self.dtype = torch.promote_types(self._stored, torch.float32)
        self.precision = precision_of(self._stored, self.attrs)
        with opened(path) as file:
            require_sound_index(path, file)
            self.sequence_index = file[SEQUENCE_INDEX][...]
            self.position = file[POSITION][...]
            self.token_id = file[TOKEN_ID][...]
        with ExitStack() as held, translate_errors(path, CAPTURE.remedy):
            self._file = held.enter_context(open_lockable(path, "r"))
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            held.callback(os.close, self._descriptor)
            self.added = {name: held.enter_context(CaptureSource(path, name)) for name in added}
            self._rows = RowReader.of(self._file[self._variable], self._descriptor)
            self._held = held.pop_all()

    def read(
        self, start: int, stop: int, out: Float[torch.Tensor, "token layer feature"] | None = None
    ) -> Float[torch.Tensor, "token layer feature"]:
        """Return the rows from `start` up to `stop`, widened to `dtype`; see `StateSource.read`.

        Raises
        ------
        FileError
            The disk does not give them.
        """
        start, stop = check_row_range(start, stop, len(self.position))
        shape = (stop - start, len(self.layer), self.width)
        rows = torch.empty(shape, dtype=self.dtype) if out is None else out
        if not rows.numel():
            return rows
        if not self._file:
            raise ValueError(f"{self.name} is closed")
        with translate_errors(self.name, CAPTURE.remedy, f"rows {start} to {stop} cannot be read"):
            self._fill(rows, start)
        return rows

    def close(self) -> None:
        """Close the file."""
        self._held.close()

    def __enter__(self) -> "CaptureSource":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _fill(self, rows: Float[torch.Tensor, "token layer feature"], start: int) -> None:
        if self._rows is not None:
            self._rows.read(start, rows)
        else:  # saved again by another program, packed perhaps: HDF5 knows how to read it
            stored = torch.empty(rows.shape, dtype=self._stored)
            read_raw(self._file[self._variable], start, stored)
            rows.copy_(stored)

    def sequences(self) -> Sequences:
        """Return the texts; see `StateSource.sequences`."""
        with translate_errors(self.name, CAPTURE.remedy):
            return Sequences(sequence_ids(self._file).asstr()[...].tolist(), self._file[SEQUENCE_LENGTH][...])

    def spans(self) -> Spans | None:
        """Return the characters of all rows in their texts; see `StateSource.spans`."""
        if not {CHAR_START, CHAR_END, TEXT_HASH} <= set(self._file):
            return None
        with translate_errors(self.name, CAPTURE.remedy):
            start, end, hashes = (self._file[name][...] for name in (CHAR_START, CHAR_END, TEXT_HASH))
            return Spans(start, end, self.sequences().id, hashes)
