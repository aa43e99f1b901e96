"""Write a capture file: rows in any order, commits, resuming, finishing.

The life of a file, as a driver sees it::

    with CaptureTarget("run.h5") as target:                       # locked; a second capture is refused from here on
        with SequenceIndex(target.folder) as index:
            for sequence_id, token_ids in texts:
                index.add(sequence_id, token_ids, positions)       # positions of the rows to store; None for all
            layout = CaptureLayout(layer, layer_name, width, store_dtype, final_norm)
            check_space(target.path, layout.forecast_bytes(index.rows, index.sequences))
            with CaptureWriter.create(target, layout, index, attributes, settings) as writer:
                for batch in plan(index):                          # index.lengths, index.token_ids, index.rows_of
                    writer.update(rows)                            # rows: StateRows; the writer is a Sink
                    writer.commit()
                writer.finish()

and, when ``header = read_header(target.path)`` is incomplete and the capture is resumed::

            difference = first_difference(header.settings, wanted)         # refuse if there is one
            with CaptureWriter.resume(target, index) as writer:            # refuses other texts
                ...                                                        # continue after writer.committed_rows rows

Rows are counted in the order in which they are written, so with the same plan of batches `committed_rows`
gives the number of batches in the file.

Why a kill loses nothing. The file is laid out under a temporary name, closed, and only then put in the target's
place. From then on HDF5's metadata never changes; rows go to places that exist. Two attributes change, each in place
within one header block, in one write: ``committed`` after the rows it counts, and at the very end ``complete``. Rows
of a batch that was cut short are written again by the resumed capture. Both attributes end the same whether or not
there was a kill, so the finished files are equal.

This module depends on neither models nor texts.
"""

import os
from collections.abc import Mapping
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import h5py
import numpy as np

from layerscope.errors import CaptureError, FileError
from layerscope.states import StateRows
from layerscope.store.checksums import commit_record, placement_checksum
from layerscope.store.chunk_io import RowWriter
from layerscope.store.finite import all_finite, check_finite
from layerscope.store.hdf5 import open_dataset
from layerscope.store.header import opened, read_header, require_sound_index
from layerscope.store.index import SequenceIndex
from layerscope.store.layout import CaptureLayout, Setting, lay_out
from layerscope.store.locking import open_lockable
from layerscope.store.resume import check_index
from layerscope.store.schema import (
    CAPTURE,
    CHECKSUM,
    COMMITTED,
    COMPLETE,
    FINAL_NORM,
    HIDDEN,
    PLACEMENT_CHECKSUM,
    POSITION,
    SEQUENCE_ID,
    SEQUENCE_INDEX,
    TOKEN,
    TOKEN_ID,
    Attribute,
)
from layerscope.store.target import CaptureTarget
from layerscope.store.write_errors import translate_write_errors

__all__ = ["CaptureWriter"]


class CaptureWriter:
    """An unfinished capture file, open for its rows; a `layerscope.states.Sink`. Made by `create` or `resume`.

    Attributes
    ----------
    path
        The file.
    layout
        What a row consists of.
    settings
        What the capture was begun with.
    tokens
        Rows the finished file has.
    committed_rows
        Rows that are certainly in the file.
    """

    def __init__(self, path: Path) -> None:
        header = read_header(path)
        if header.complete:
            raise CaptureError(f"{path} is complete already: nothing to resume")
        self._checksum = header.checksum or ""
        self.path = path
        self.layout = header.layout
        self.settings = header.settings
        self.tokens = header.sizes[TOKEN]
        self._written = np.zeros(2, np.int64)  # rows, and the sum of their numbers: no row twice, none left out
        record = np.zeros(3, np.int64)
        with ExitStack() as held, translate_write_errors(path, "open"):
            self._file = held.enter_context(open_lockable(path, "r+", libver="earliest"))
            self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            held.callback(os.close, self._descriptor)
            self._committed = h5py.h5a.open(self._file[TOKEN].id, COMMITTED.encode())
            self._committed.read(record)
            self._written[:] = record[:2]
            self._hidden = RowWriter(self._file[HIDDEN], self._descriptor)
            self._final_norm = RowWriter(self._file[FINAL_NORM], self._descriptor) if self.layout.final_norm else None
            self._index = {name: _mapped(path, self._file[name]) for name in (SEQUENCE_INDEX, POSITION, TOKEN_ID)}
            self._opened = held.pop_all()
        self.committed_rows = int(self._written[0])

    @classmethod
    def create(
        cls,
        target: CaptureTarget,
        layout: CaptureLayout,
        index: SequenceIndex,
        attributes: Mapping[str, Attribute],
        settings: Mapping[str, Setting],
    ) -> "CaptureWriter":
        """Lay out a new file, replace any file at the output path, and open it for its rows.

        Parameters
        ----------
        target
            Entered and therefore locked.
        layout
            What a row consists of.
        index
            The sequences and which of their tokens are rows.
        attributes
            The attributes of the contract (`schema.FILE_ATTRIBUTES`), all but ``complete``.
        settings
            What a resumed capture must agree in, by the names a user knows; see `resume.first_difference`.

        Raises
        ------
        CaptureError
            No rows to store, a full disk, a place that cannot be written. The target is then untouched.
        """
        with translate_write_errors(target.path, "write"):
            lay_out(target.temporary, layout, index, attributes, settings)
            target.adopt()
        return cls(target.path)

    @classmethod
    def resume(cls, target: CaptureTarget, index: SequenceIndex) -> "CaptureWriter":
        """Open the unfinished file at the target for the rest of its rows.

        Parameters
        ----------
        target
            Entered and therefore locked.
        index
            Of the texts given now, which must be those the capture was begun with, token by token.

        Raises
        ------
        CaptureError
            The texts differ (the first sequence that does is named); the file is complete, open elsewhere, or cannot be
            written.
        FileError
            The file is missing, truncated, or no capture that can be resumed.
        """
        _require_resumable(target.path)
        writer = cls(target.path)
        try:
            check_index(writer._file, index, writer.path)
        except BaseException:
            writer.close()
            raise
        return writer

    def update(self, rows: StateRows) -> None:
        """Write rows in their places, cast to the storage type.

        Parameters
        ----------
        rows
            In any order; each must be, by sequence, position and token id, the one the file expects under its number. They
            have the output of the final norm where the layout has.

        Raises
        ------
        CaptureError
            NaN, Inf, or a number outside the storage type (layer, sequence and token are named); rows other than the
            file expects; a full disk. Committed rows stay; the capture can be resumed.
        """
        if not self._file:
            raise ValueError(f"{self.path} is closed")
        if not len(rows):
            return
        final_norm = rows.final_norm
        if (final_norm is None) != (self._final_norm is None):
            raise ValueError(f"final_norm is {'missing' if final_norm is None else 'not part of this capture'}")
        self._check_rows(rows)
        self._store(self._hidden, rows, self.layout.display_names)
        if self._final_norm is not None and final_norm is not None:
            self._store(self._final_norm, replace(rows, hidden=final_norm[:, None, :], final_norm=None), (FINAL_NORM,))
        self._written += (len(rows), int(rows.row.sum()))

    def commit(self) -> None:
        """Record all rows written so far: a resumed capture continues after them."""
        with translate_write_errors(self.path, "write"):
            self._committed.write(commit_record(self._checksum, *self._written.tolist()))
            self._file.flush()
        self.committed_rows = int(self._written[0])

    def finish(self) -> None:
        """Make sure that every row is there and on disk, mark the file complete, and close it.

        Raises
        ------
        CaptureError
            Rows are missing or were written twice; or the disk reports that it lost some.
        """
        if self._written.tolist() != [self.tokens, self.tokens * (self.tokens - 1) // 2]:
            raise CaptureError(
                f"{self.path}: {self._written[0]:,} rows were written for {self.tokens:,}, or some twice\n"
                "capture it again with --overwrite"
            )
        self.commit()
        with translate_write_errors(self.path, "write"):
            os.fsync(self._descriptor)
            h5py.h5a.open(self._file.id, COMPLETE.encode()).write(np.array(1, np.int64))
            self._file.flush()
        self.close()

    def close(self) -> None:
        """Close the file; without `finish` it stays unfinished, ready to be resumed."""
        self._index.clear()
        with translate_write_errors(self.path, "close"):
            self._opened.close()

    def __enter__(self) -> "CaptureWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The first error is the one to tell; that the file cannot be closed either is its consequence.
        with suppress(CaptureError) if error is not None else nullcontext():
            self.close()

    def _check_rows(self, rows: StateRows) -> None:
        for name, expected in self._index.items():
            got = getattr(rows, name)
            wrong = np.flatnonzero(expected[rows.row] != got)
            if wrong.size:
                first = int(wrong[0])
                raise CaptureError(
                    f"row {rows.row[first]} of {self.path} has {name} {expected[rows.row[first]]}, "
                    f"got {got[first]}\ncapture it again with --overwrite"
                )

    def _store(self, output: RowWriter, rows: StateRows, layer_name: tuple[str, ...]) -> None:
        turned = output.cast(rows.hidden)
        if not all_finite(turned):
            check_finite(rows, layer_name=layer_name, sequence_id=self._sequence_id, store_dtype=output.dtype)
        with translate_write_errors(self.path, "write"):
            output.write(rows.row, turned)

    def _sequence_id(self, sequence: int) -> str:
        return str(self._file[SEQUENCE_ID].asstr()[sequence])


def _require_resumable(path: Path) -> None:
    """Refuse to resume a file whose index or chunks differ from those that were laid out."""
    with opened(path) as file:
        private = file[TOKEN].attrs if TOKEN in file else {}
        if CHECKSUM not in private:
            raise FileError(f"{path} was begun by a version that wrote no checksums\nstart again with --overwrite")
        require_sound_index(path, file)
        if private.get(PLACEMENT_CHECKSUM) != placement_checksum(file):
            raise FileError(f"{path} is damaged: its states are not where they were laid out\n{CAPTURE.remedy}")
    open_dataset(path, CAPTURE).close()  # what xarray cannot open is not worth finishing


def _mapped(path: Path, dataset: h5py.Dataset) -> np.ndarray:
    """Return a contiguous dataset without holding it in memory."""
    return np.memmap(path, dataset.dtype, "r", dataset.id.get_offset(), dataset.shape)
