"""Write a capture file: rows in any order, commits, resuming, finishing.

A driver uses a file like this::

    with CaptureTarget("run.h5") as target:                       # locked: a second capture is refused
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

            difference = first_difference(header.settings, wanted)         # refuse if not None
            with CaptureWriter.resume(target, index) as writer:            # refuses other texts
                ...                                                        # continue after writer.committed_rows rows

Rows are counted in the order in which they are written, so with the same plan of batches `committed_rows`
gives the number of batches in the file.

Why a kill loses nothing. The file is created under a temporary name, closed, and then moved to the output path. From then on
HDF5's metadata never changes: rows are written to places that are allocated already. Two attributes change, each in place within
one header block, in one write: ``committed`` after the rows it counts, and ``complete`` at the very end. The resumed capture
writes the rows of an interrupted batch again. Both attributes end the same with or without a kill, so the finished files are
equal.

This module depends on neither models nor texts.
"""

import os
from collections.abc import Mapping
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from types import TracebackType

import h5py
import numpy as np

from layerscope.errors import CaptureError
from layerscope.states import StateRows
from layerscope.store.checksums import commit_record
from layerscope.store.chunk_io import RowWriter
from layerscope.store.creation import create_capture_file
from layerscope.store.finite import check_layout, storable
from layerscope.store.header import read_header
from layerscope.store.index import SequenceIndex
from layerscope.store.index_variables import TokenStrings
from layerscope.store.layout import CaptureLayout, Setting
from layerscope.store.locking import open_lockable
from layerscope.store.resume import check_index, require_resumable
from layerscope.store.schema import (
    COMMITTED,
    COMPLETE,
    COORDINATES,
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
        The settings of the capture.
    tokens
        Number of rows of the finished file.
    committed_rows
        Number of rows that are safely in the file.
    """

    def __init__(self, path: Path) -> None:
        header = read_header(path)
        if header.complete:
            raise CaptureError(f"{path} is already complete: there is nothing to resume")
        self._checksum = header.checksum or ""
        self.path = path
        self.layout = header.layout
        self.settings = header.settings
        self.tokens = header.sizes[TOKEN]
        self._written = np.zeros(2, np.int64)  # rows, and the sum of their numbers: finds missing and repeated rows
        record = np.zeros(3, np.int64)
        with ExitStack() as held, translate_write_errors(path, "open"):
            self._file = held.enter_context(open_lockable(path, "r+", libver="earliest"))
            self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            held.callback(os.close, self._descriptor)
            self._committed = h5py.h5a.open(self._file[TOKEN].id, COMMITTED.encode())
            self._committed.read(record)
            self._written[:] = record[:2]
            self._states = {name: RowWriter(self._file[name], self._descriptor) for name in self.layout.variables}
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
        token_strings: TokenStrings | None = None,
    ) -> "CaptureWriter":
        """Create a file, replace any file at the output path, and open it for its rows.

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
            The settings that must match on resume, by the names that users know; see `resume.first_difference`.
        token_strings
            Names the tokens, for a layout with token strings.

        Raises
        ------
        CaptureError
            There are no rows to store, the disk is full, or the path cannot be written. The target is then unchanged.
        """
        with translate_write_errors(target.path, "write"):
            create_capture_file(target.temporary, layout, index, attributes, settings, token_strings)
            target.adopt()
        return cls(target.path)

    @classmethod
    def resume(cls, target: CaptureTarget, index: SequenceIndex) -> "CaptureWriter":
        """Open the unfinished file at the target for its remaining rows.

        Parameters
        ----------
        target
            Entered and therefore locked.
        index
            Of the texts of this call, which must match those of the file, token by token.

        Raises
        ------
        CaptureError
            The texts differ (the message names the first such sequence); the file is complete, open in another program, or
            cannot be written.
        FileError
            The file is missing, damaged, or no capture that can be resumed.
        """
        require_resumable(target.path)
        writer = cls(target.path)
        try:
            check_index(writer._file, index, writer.path)
        except BaseException:
            writer.close()
            raise
        return writer

    def update(self, rows: StateRows) -> None:
        """Cast rows to the storage type, and write them.

        Parameters
        ----------
        rows
            In any order. The sequence, position and token id of each must be those of its row in the file. They include the
            states of all variables of the layout, and no others.

        Raises
        ------
        CaptureError
            A value is NaN, infinite or outside the range of the storage type (the message names layer, sequence and token);
            a row does not match the file; the disk is full. Committed rows stay, and the capture can be resumed.
        """
        if not self._file:
            raise ValueError(f"{self.path} is closed")
        if not len(rows):
            return
        for name in COORDINATES:
            given = getattr(rows, name)
            if (given is None or not given.numel()) != (name not in self._states):
                raise ValueError(f"{name} is {'missing' if name in self._states else 'not part of this capture'}")
        self._check_rows(rows)
        turned = {name: output.cast(rows.states(name)) for name, output in self._states.items()}
        unchecked = turned if rows.checked != self.layout.store_dtype else {}
        if not all(storable(rows.states(name), stored.transpose(0, 1)) for name, stored in unchecked.items()):
            check_layout(rows, self.layout, sequence_id=self._sequence_id, store_dtype=self.layout.store_dtype)
        with translate_write_errors(self.path, "write"):
            for name, output in self._states.items():
                output.write(rows.row, turned[name])
        self._written += (len(rows), int(rows.row.sum()))

    def commit(self) -> None:
        """Record all rows written so far: a resumed capture continues after them."""
        with translate_write_errors(self.path, "write"):
            self._committed.write(commit_record(self._checksum, *self._written.tolist()))
            self._file.flush()
        self.committed_rows = int(self._written[0])

    def finish(self) -> None:
        """Check that every row is written and on disk, mark the file complete, and close it.

        Raises
        ------
        CaptureError
            Rows are missing or were written twice, or the disk reports an error.
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
        # Report the first error only: a file that cannot be closed is its consequence.
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

    def _sequence_id(self, sequence: int) -> str:
        return str(self._file[SEQUENCE_ID].asstr()[sequence])


def _mapped(path: Path, dataset: h5py.Dataset) -> np.ndarray:
    """Return a contiguous dataset, mapped and not loaded."""
    return np.memmap(path, dataset.dtype, "r", dataset.id.get_offset(), dataset.shape)
