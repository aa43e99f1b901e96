"""Rows of an xarray Dataset as torch tensors, read through xarray with every selection and computation applied."""

import os
from collections.abc import Iterable
from types import TracebackType

import numpy as np
import torch
import xarray
from jaxtyping import Float, Shaped

from layerscope.errors import FileError
from layerscope.store.hdf5 import translate_errors
from layerscope.store.header import read_header
from layerscope.store.schema import (
    CAPTURE,
    CHAR_END,
    CHAR_START,
    FEATURE,
    POSITION,
    SEQUENCE,
    SEQUENCE_ID,
    SEQUENCE_INDEX,
    SEQUENCE_LENGTH,
    STATES,
    TEXT_HASH,
    TOKEN,
    TOKEN_ID,
)
from layerscope.store.source import Sequences, check_row_range, missing_stream, precision_of
from layerscope.store.spans import Spans
from layerscope.stream_names import STREAMS

__all__ = ["DatasetSource"]

_NOTHING = xarray.DataArray(0)


class DatasetSource:
    """Rows of a Dataset, through xarray. A `StateSource`.

    Parameters
    ----------
    dataset
        With floats ``hidden`` on token, layer and feature, in any order, and with ``layer``, ``layer_name``,
        ``sequence_index``, ``position`` and ``token_id``. Lazy or in memory; selected, subset or computed as it may be.
    stream
        Which of its streams is read. ``attn`` and ``mlp`` are ``attn_out`` and ``mlp_out`` on token, block and feature, with
        ``block`` and ``block_name``.
    added
        Other streams, to be read as `added`.

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

    def __init__(self, dataset: xarray.Dataset, stream: str = "resid", added: Iterable[str] = ()) -> None:
        self._variable = STREAMS[stream]
        _check_dataset(dataset, stream)
        self.name = "dataset"
        self._dataset = dataset
        with translate_errors(self.name, CAPTURE.remedy, of=OSError):  # other errors are of who computed the Dataset
            self._label(dataset)
        self.added = {name: DatasetSource(dataset, name) for name in added}

    def _label(self, dataset: xarray.Dataset) -> None:
        """Read everything but the states."""
        dimension, names = STATES[self._variable]
        self._hidden = dataset[self._variable].transpose(TOKEN, dimension, FEATURE)
        self.layer = dataset[dimension].to_numpy().astype(np.int64)
        self.layer_name = [str(name) for name in dataset[names].to_numpy()]
        self.width = self._hidden.sizes[FEATURE]
        self.dtype = torch.float64 if self._hidden.dtype == np.float64 else torch.float32
        self.sequence_index = dataset[SEQUENCE_INDEX].to_numpy().astype(np.int64)
        self.position = dataset[POSITION].to_numpy()
        self.token_id = dataset[TOKEN_ID].to_numpy()
        plain = {str(key): v.item() if isinstance(v, np.generic) else v for key, v in dataset.attrs.items()}
        self.attrs = {name: value for name, value in plain.items() if isinstance(value, str | int | float)}
        self.precision = precision_of(_stored_dtype(dataset[self._variable]) or self.dtype, self.attrs)

    def read(
        self, start: int, stop: int, out: Float[torch.Tensor, "token layer feature"] | None = None
    ) -> Float[torch.Tensor, "token layer feature"]:
        """Return the rows from `start` up to `stop`; see `StateSource.read`."""
        start, stop = check_row_range(start, stop, self._hidden.sizes[TOKEN])
        with translate_errors(self.name, CAPTURE.remedy, f"rows {start} to {stop} cannot be read", OSError):
            numbers = self._hidden.isel({TOKEN: slice(start, stop)}).to_numpy()
        wide = numbers.astype(np.float64 if self.dtype == torch.float64 else np.float32, copy=out is None)
        rows = torch.from_numpy(np.ascontiguousarray(wide))
        return rows if out is None else out.copy_(rows)

    def sequences(self) -> Sequences | None:
        """Return the texts; see `StateSource.sequences`."""
        found = self._variables({self._ids: SEQUENCE, SEQUENCE_LENGTH: SEQUENCE})
        return None if found is None else Sequences([str(name) for name in found[0]], found[1])

    def spans(self) -> Spans | None:
        """Return the characters of all rows in their texts; see `StateSource.spans`."""
        found = self._variables({CHAR_START: TOKEN, CHAR_END: TOKEN, self._ids: SEQUENCE, TEXT_HASH: SEQUENCE})
        if found is None:
            return None
        start, end, names, hashes = found
        return Spans(start, end, [str(name) for name in names], hashes)

    @property
    def _ids(self) -> str:
        """The variable with the ids of the texts: as open_capture labels them, or as in the file."""
        return SEQUENCE if SEQUENCE in self._dataset.coords else SEQUENCE_ID

    def _variables(self, wanted: dict[str, str]) -> list[Shaped[np.ndarray, " _"]] | None:
        """Return variables over one dimension each, or None if one is missing."""
        if any(self._dataset.get(name, _NOTHING).dims != (dimension,) for name, dimension in wanted.items()):
            return None
        if self.sequence_index.max(initial=-1) >= self._dataset.sizes[SEQUENCE]:
            raise FileError(
                f"the dataset has rows of sequence {self.sequence_index.max()}, and {self._dataset.sizes[SEQUENCE]} sequences\n"
                "select tokens, not sequences: sequence_index counts them as the file does"
            )
        return [self._dataset[name].to_numpy() for name in wanted]

    def close(self) -> None:
        """Do nothing: who made the Dataset closes it."""

    def __enter__(self) -> "DatasetSource":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check_dataset(dataset: xarray.Dataset, stream: str) -> None:
    variable = STREAMS[stream]
    dimension, names = STATES[variable]
    if variable not in dataset.variables and dataset.variables.keys() & STATES.keys():
        raise missing_stream("the dataset", stream, map(str, dataset.variables))
    dimensions = {
        variable: {TOKEN, dimension, FEATURE},
        dimension: {dimension},
        names: {dimension},
        SEQUENCE_INDEX: {TOKEN},
        POSITION: {TOKEN},
        TOKEN_ID: {TOKEN},
    }
    for name, wanted in dimensions.items():
        if name not in dataset.variables:
            raise FileError(f"the dataset lacks {name!r}\ngive one opened with open_capture, or of the same shape")
        if set(dataset[name].dims) != wanted:
            raise FileError(f"the dataset has {name} on {dataset[name].dims}, expected {tuple(sorted(wanted))}")
        if name in (dimension, SEQUENCE_INDEX, POSITION, TOKEN_ID) and dataset[name].dtype.kind not in "iu":
            raise FileError(f"the dataset has {name} as {dataset[name].dtype}, expected whole numbers")
    for name in (dimension, FEATURE):
        if not dataset.sizes[name]:
            raise FileError(f"the dataset has no {name}: select one or more")
    if dataset[variable].dtype.kind != "f":
        raise FileError(f"the dataset has {variable} as {dataset[variable].dtype}, expected floats")


def _stored_dtype(hidden: xarray.DataArray) -> torch.dtype | None:
    """Return the type that states have in the capture they were opened from: xarray shows bfloat16 as float32."""
    if hidden.dtype == np.float16:
        return torch.float16
    source = hidden.encoding.get("source")
    if not isinstance(source, str) or not os.path.isfile(source):
        return None
    try:
        return read_header(source).layout.store_dtype
    except FileError:  # not a capture file: the type that xarray shows is the stored one
        return None
