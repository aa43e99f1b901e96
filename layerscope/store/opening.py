"""Open captures: as a lazy xarray.Dataset for users, as a source of rows for measures."""

import os
from collections.abc import Iterable

import xarray

import layerscope.accessor  # noqa: F401 - makes ds.layerscope known
from layerscope.arguments import checked
from layerscope.store.capture_source import CaptureSource
from layerscope.store.dataset_source import DatasetSource
from layerscope.store.hdf5 import open_dataset
from layerscope.store.header import opened, read_header, require_complete, require_sound_index
from layerscope.store.schema import CAPTURE, SEQUENCE, SEQUENCE_ID, SEQUENCE_INDEX, TOKEN

__all__ = ["open_capture", "open_source"]


@checked
def open_capture(path: str | os.PathLike[str], *, allow_incomplete: bool = False) -> xarray.Dataset:
    """Open a capture file lazily: states are read on use.

    The same as ``xarray.open_dataset(path, engine="h5netcdf")``, after checking that the file is a finished capture, with the ids
    of the texts as labels: ``sequence_id(token)``, in place of the file's ``sequence_id(sequence)``, and ``sequence``. So
    ``dataset.sel(sequence_id="p03")`` gives the rows of a text, and ``dataset.sel(sequence="p03")`` its length and metadata.

    Parameters
    ----------
    path
        The file.
    allow_incomplete
        Open an unfinished capture too; rows not yet written then hold nothing meaningful.

    Returns
    -------
    xarray.Dataset
        Those of ``hidden(token, layer, feature)``, ``attn_out`` and ``mlp_out(token, block, feature)`` that were captured, and
        their coordinates; a stored bfloat16 comes as float32. Close it after use. Its methods are at ``ds.layerscope``: see
        `layerscope.accessor.LayerScopeAccessor`.

    Raises
    ------
    FileError
        The file is missing, truncated, no capture, or unfinished.
    """
    header = read_header(path)
    if not allow_incomplete:
        require_complete(header)
    with opened(path) as file:
        require_sound_index(path, file)
    return _label_rows(open_dataset(path, CAPTURE))


def _label_rows(dataset: xarray.Dataset) -> xarray.Dataset:
    """Label each row and each sequence with the id of its text. A part that xarray has saved is labelled already."""
    if dataset[SEQUENCE_ID].dims == (TOKEN,):
        return dataset.set_coords(SEQUENCE_ID)
    ids = dataset[SEQUENCE_ID].to_numpy().astype(object)
    rows = ids[dataset[SEQUENCE_INDEX].to_numpy()]
    # No index over token: xarray would align the rows of two selections by their ids, which many rows share.
    return dataset.drop_vars(SEQUENCE_ID).assign_coords({SEQUENCE: (SEQUENCE, ids), SEQUENCE_ID: (TOKEN, rows)})


def open_source(
    capture: str | os.PathLike[str] | xarray.Dataset, stream: str = "resid", added: Iterable[str] = ()
) -> CaptureSource | DatasetSource:
    """Open one stream of a finished capture file, or of a Dataset with all selections applied, as a source of rows.

    Parameters
    ----------
    capture
        The file or the Dataset.
    stream
        The stream that is read: ``resid``, ``attn`` or ``mlp``.
    added
        Other streams of the same rows, which the source has as `added`.

    Raises
    ------
    FileError
        The file is missing, truncated, no capture, or unfinished; the Dataset lacks something; they do not hold the stream.
    """
    if isinstance(capture, xarray.Dataset):
        return DatasetSource(capture, stream, added)
    return CaptureSource(capture, stream, added)
