"""Consecutive rows of a capture as torch tensors, from a file or from any Dataset of the same shape.

A path takes the raw-bits road: HDF5 hands over the stored bits and torch widens them, tens of times faster than HDF5's
own conversion of bfloat16. A Dataset is read exactly as it stands, through xarray, whatever was done to it.
"""

import os
from contextlib import ExitStack
from types import TracebackType
from typing import Protocol, runtime_checkable

import numpy as np
import torch
import xarray
from jaxtyping import Float, Int

from layerscope.errors import FileError
from layerscope.store.bfloat16 import read_raw
from layerscope.store.fetching import RowFetcher
from layerscope.store.hdf5 import translate_errors
from layerscope.store.header import opened, read_header, require_complete, require_sound_index
from layerscope.store.locking import open_lockable
from layerscope.store.schema import (
    CAPTURE,
    CHAR_END,
    CHAR_START,
    FEATURE,
    HIDDEN,
    LAYER,
    LAYER_NAME,
    POSITION,
    SEQUENCE,
    SEQUENCE_ID,
    SEQUENCE_INDEX,
    TEXT_HASH,
    TOKEN,
    TOKEN_ID,
    Attribute,
)
from layerscope.store.spans import Spans

__all__ = ["CaptureSource", "DatasetSource", "StateSource", "open_source"]

_NOTHING = xarray.DataArray(0)


@runtime_checkable
class StateSource(Protocol):
    """Token rows of all captured states, read in order and in pieces of any size.

    Attributes
    ----------
    name
        The path, or ``dataset``, for messages.
    layer, layer_name
        The numbers and names of the states.
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

    def read(
        self, start: int, stop: int, out: Float[torch.Tensor, "token layer feature"] | None = None
    ) -> Float[torch.Tensor, "token layer feature"]:
        """Return the rows from `start` up to `stop`; in `out`, if given, which must have just that shape and `dtype`.

        New memory costs more than the reading: whoever reads a file piece by piece gives the same `out` each time.
        """
        ...

    def spans(self) -> Spans | None:
        """Return where all rows stand in their texts, or None if the capture was not asked to keep that."""
        ...


def open_source(capture: str | os.PathLike[str] | xarray.Dataset) -> "CaptureSource | DatasetSource":
    """Open what a measure reads: a finished capture file, or a Dataset as it stands.

    Raises
    ------
    FileError
        The file is missing, truncated, no capture, or unfinished; the Dataset lacks something.
    """
    return DatasetSource(capture) if isinstance(capture, xarray.Dataset) else CaptureSource(capture)


class CaptureSource:
    """Rows of a finished capture file, by the raw-bits road. A `StateSource`; close it, or use it in a ``with``.

    Raises
    ------
    FileError
        The file is missing, truncated, no capture, or unfinished.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        header = read_header(path)
        require_complete(header)
        self.name = os.fspath(path)
        self.layer = np.array(header.layout.layer, dtype=np.int64)
        self.layer_name = list(header.layout.layer_name)
        self.width = header.layout.width
        self.attrs = header.attributes
        self._stored = header.layout.store_dtype
        self.dtype = torch.promote_types(self._stored, torch.float32)
        self.precision = _precision(self._stored, self.attrs)
        with opened(path) as file:
            require_sound_index(path, file)
            self.sequence_index = file[SEQUENCE_INDEX][...]
            self.position = file[POSITION][...]
            self.token_id = file[TOKEN_ID][...]
        with ExitStack() as held, translate_errors(path, CAPTURE.remedy):
            self._file = held.enter_context(open_lockable(path, "r"))
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            held.callback(os.close, self._descriptor)
            self._fetcher = RowFetcher.of(self._file[HIDDEN], self._descriptor)
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
        start, stop = _bounded(start, stop, len(self.position))
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
        if self._fetcher is not None:
            self._fetcher.fetch(start, rows)
        else:  # saved again by another program, packed perhaps: HDF5 knows how to read it
            stored = torch.empty(rows.shape, dtype=self._stored)
            read_raw(self._file[HIDDEN], start, stored)
            rows.copy_(stored)

    def spans(self) -> Spans | None:
        """Return where all rows stand in their texts; see `StateSource.spans`."""
        if not {CHAR_START, CHAR_END, TEXT_HASH} <= set(self._file):
            return None
        with translate_errors(self.name, CAPTURE.remedy):
            start, end, hashes = (self._file[name][...] for name in (CHAR_START, CHAR_END, TEXT_HASH))
            return Spans(start, end, self._file[SEQUENCE_ID].asstr()[...].tolist(), hashes)


class DatasetSource:
    """Rows of a Dataset, through xarray. A `StateSource`.

    Parameters
    ----------
    dataset
        With floats ``hidden`` on token, layer and feature, in any order, and with ``layer``, ``layer_name``,
        ``sequence_index``, ``position`` and ``token_id``. Lazy or in memory; selected, subset or computed as it may be.

    Raises
    ------
    FileError
        Something of this is missing.

    Examples
    --------
    >>> token = ("token", [0, 0])
    >>> coordinates = {"layer": [4], "layer_name": ("layer", ["block.3"])}
    >>> coordinates |= {"sequence_index": token, "position": token, "token_id": token}
    >>> hidden = (("token", "layer", "feature"), np.ones((2, 1, 3)))
    >>> DatasetSource(xarray.Dataset({"hidden": hidden}, coordinates)).read(0, 1)
    tensor([[[1., 1., 1.]]], dtype=torch.float64)
    """

    def __init__(self, dataset: xarray.Dataset) -> None:
        _check_dataset(dataset)
        self.name = "dataset"
        self._dataset = dataset
        with translate_errors(self.name, CAPTURE.remedy, of=OSError):  # other errors are of who computed the Dataset
            self._label(dataset)

    def _label(self, dataset: xarray.Dataset) -> None:
        """Read everything but the states."""
        self._hidden = dataset[HIDDEN].transpose(TOKEN, LAYER, FEATURE)
        self.layer = dataset[LAYER].to_numpy().astype(np.int64)
        self.layer_name = [str(name) for name in dataset[LAYER_NAME].to_numpy()]
        self.width = self._hidden.sizes[FEATURE]
        self.dtype = torch.float64 if self._hidden.dtype == np.float64 else torch.float32
        self.sequence_index = dataset[SEQUENCE_INDEX].to_numpy().astype(np.int64)
        self.position = dataset[POSITION].to_numpy()
        self.token_id = dataset[TOKEN_ID].to_numpy()
        plain = {str(key): v.item() if isinstance(v, np.generic) else v for key, v in dataset.attrs.items()}
        self.attrs = {name: value for name, value in plain.items() if isinstance(value, str | int | float)}
        self.precision = _precision(_stored_dtype(dataset[HIDDEN]) or self.dtype, self.attrs)

    def read(
        self, start: int, stop: int, out: Float[torch.Tensor, "token layer feature"] | None = None
    ) -> Float[torch.Tensor, "token layer feature"]:
        """Return the rows from `start` up to `stop`; see `StateSource.read`."""
        start, stop = _bounded(start, stop, self._hidden.sizes[TOKEN])
        with translate_errors(self.name, CAPTURE.remedy, f"rows {start} to {stop} cannot be read", OSError):
            numbers = self._hidden.isel({TOKEN: slice(start, stop)}).to_numpy()
        wide = numbers.astype(np.float64 if self.dtype == torch.float64 else np.float32, copy=out is None)
        rows = torch.from_numpy(np.ascontiguousarray(wide))
        return rows if out is None else out.copy_(rows)

    def spans(self) -> Spans | None:
        """Return where all rows stand in their texts; see `StateSource.spans`."""
        wanted = {CHAR_START: TOKEN, CHAR_END: TOKEN, SEQUENCE_ID: SEQUENCE, TEXT_HASH: SEQUENCE}
        if any(self._dataset.get(name, _NOTHING).dims != (dimension,) for name, dimension in wanted.items()):
            return None
        if self.sequence_index.max(initial=-1) >= self._dataset.sizes[SEQUENCE]:
            raise FileError(
                f"the dataset has rows of sequence {self.sequence_index.max()}, and {self._dataset.sizes[SEQUENCE]} sequences\n"
                "select tokens, not sequences: sequence_index counts them as the file does"
            )
        start, end, names, hashes = (self._dataset[name].to_numpy() for name in wanted)
        return Spans(start, end, [str(name) for name in names], hashes)

    def close(self) -> None:
        """Do nothing: who made the Dataset closes it."""

    def __enter__(self) -> "DatasetSource":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check_dataset(dataset: xarray.Dataset) -> None:
    dimensions = {
        HIDDEN: {TOKEN, LAYER, FEATURE},
        LAYER: {LAYER},
        LAYER_NAME: {LAYER},
        SEQUENCE_INDEX: {TOKEN},
        POSITION: {TOKEN},
        TOKEN_ID: {TOKEN},
    }
    for name, wanted in dimensions.items():
        if name not in dataset.variables:
            raise FileError(f"the dataset lacks {name!r}\ngive one opened with open_capture, or of the same shape")
        if set(dataset[name].dims) != wanted:
            raise FileError(f"the dataset has {name} on {dataset[name].dims}, expected {tuple(sorted(wanted))}")
        if name in (LAYER, SEQUENCE_INDEX, POSITION, TOKEN_ID) and dataset[name].dtype.kind not in "iu":
            raise FileError(f"the dataset has {name} as {dataset[name].dtype}, expected whole numbers")
    for name in (LAYER, FEATURE):
        if not dataset.sizes[name]:
            raise FileError(f"the dataset has no {name}: select one or more")
    if dataset[HIDDEN].dtype.kind != "f":
        raise FileError(f"the dataset has hidden as {dataset[HIDDEN].dtype}, expected floats")


def _stored_dtype(hidden: xarray.DataArray) -> torch.dtype | None:
    """Return the type that states have in the capture they were opened from: xarray shows bfloat16 as float32."""
    if hidden.dtype == np.float16:
        return torch.float16
    source = hidden.encoding.get("source")
    if not isinstance(source, str) or not os.path.isfile(source):
        return None
    try:
        return read_header(source).layout.store_dtype
    except FileError:  # no capture of ours: its numbers are as they are shown
        return None


def _precision(stored: torch.dtype, attrs: dict[str, Attribute]) -> float:
    """Return the machine epsilon of the coarser of two types: that of the numbers, and that of the computation."""
    computed = getattr(torch, str(attrs.get("compute_dtype")), stored)
    types = [stored, computed] if isinstance(computed, torch.dtype) else [stored]
    return max(torch.finfo(dtype).eps for dtype in types if dtype.is_floating_point)


def _bounded(start: int, stop: int, tokens: int) -> tuple[int, int]:
    if not 0 <= start <= stop <= tokens:
        raise IndexError(f"rows {start} to {stop} of {tokens}")
    return start, stop
