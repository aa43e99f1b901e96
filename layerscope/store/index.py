"""Store the tokens of every text in nameless temporary files while the texts stream.

A capture reads its texts once: it must know how many rows there will be before the file is laid out, and needs all
tokens of a text again when the model runs, also of texts of which only some rows are stored. Five append-only files
hold them: the token ids, the positions of the rows to store, where those rows stand in their text (where it is asked
for), the ids of the sequences, and one record per sequence.
They have no names (the system removes them with the process, however it dies), and in memory there is one buffer a
file, however many the texts.

This module does not use HDF5.
"""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from jaxtyping import Int

from layerscope.errors import CaptureError

__all__ = ["IndexBlock", "SequenceIndex"]

_RECORD = np.dtype(
    [
        ("first_token", "<i8"),
        ("tokens", "<i4"),
        ("first_row", "<i8"),
        ("rows", "<i4"),
        ("first_byte", "<i8"),  # of the id
        ("id_bytes", "<i4"),
        ("text_hash", "<i8"),
    ]
)
_INTEGER = np.dtype("<i4")
_BUFFER_BYTES = 1 << 20
_BLOCK_SEQUENCES = 4096
_BLOCK_TOKENS = 1 << 20


@dataclass(frozen=True)
class IndexBlock:
    """Some consecutive sequences and their rows.

    Attributes
    ----------
    first_sequence, first_row
        Where the block begins.
    sequence_id, sequence_length
        Of each sequence; the length counts the tokens run.
    sequence_index, position, token_id
        Of each row.
    spans, text_hash
        Where each row's characters begin and end, and what tells the texts of the sequences apart; None and zeros where
        the index has no spans.
    """

    first_sequence: int
    first_row: int
    sequence_id: list[str]
    sequence_length: Int[np.ndarray, " sequence"]
    sequence_index: Int[np.ndarray, " token"]
    position: Int[np.ndarray, " token"]
    token_id: Int[np.ndarray, " token"]
    spans: Int[np.ndarray, "token 2"] | None
    text_hash: Int[np.ndarray, " sequence"]


class SequenceIndex:
    """All sequences of a capture, in input order: ids, token ids, and which of their tokens become rows.

    First everything is added, then everything can be read, in any order and from any thread.

    Parameters
    ----------
    folder
        Where the nameless files lie; 4 bytes for each token and each row. The system's temporary folder by default.
    spans
        Whether each token has the range of its characters; 8 bytes more for each row.

    Raises
    ------
    CaptureError
        The folder cannot be written, or the disk is full.

    Examples
    --------
    >>> with SequenceIndex() as index:
    ...     index.add("first", [5, 6, 7])
    ...     index.add("second", [8, 9, 10, 11], positions=[3])
    ...     index.sequences, index.tokens, index.rows
    ...     index.token_ids(1), index.rows_of(1), index.lengths(0, 2)
    (2, 7, 4)
    (array([ 8,  9, 10, 11], dtype=int32), (3, array([3], dtype=int32)), array([3, 4], dtype=int32))
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None, *, spans: bool = False) -> None:
        self.spans = spans
        self.sequences = 0
        self.tokens = 0
        self.rows = 0
        self._id_bytes = 0
        self._folder = Path(folder) if folder is not None else Path(tempfile.gettempdir())
        self._files: list[IO[bytes]] = []
        try:
            for _ in range(5):
                self._files.append(tempfile.TemporaryFile(dir=self._folder, buffering=_BUFFER_BYTES))  # noqa: SIM115
        except OSError as error:
            self.close()
            raise self._failure(error) from error
        self._token_file, self._position_file, self._record_file, self._id_file, self._span_file = self._files
        self._dirty = False

    def add(
        self,
        sequence_id: str,
        token_ids: list[int] | Int[np.ndarray, " token"],
        positions: list[int] | Int[np.ndarray, " row"] | None = None,
        spans: Int[np.ndarray, "token 2"] | None = None,
        text_hash: int = 0,
    ) -> None:
        """Append a sequence.

        Parameters
        ----------
        sequence_id
            What the texts call it.
        token_ids
            Every token the model will run on.
        positions
            Which of them become rows, ascending; None means all.
        spans, text_hash
            Where each token's characters begin and end, and the hash of the text; of an index with spans.

        Raises
        ------
        CaptureError
            The id cannot be written as UTF-8 or holds a NUL character, or the disk is full.
        ValueError
            Positions that are not ascending places of the sequence, or spans where the index has none or the other way
            round: a programming error.
        """
        if (spans is None) == self.spans:
            raise ValueError(f"sequence {sequence_id!r}: spans are {'missing' if self.spans else 'not asked for'}")
        name = _encoded(sequence_id, self.sequences)
        tokens = np.asarray(token_ids, dtype=_INTEGER)
        rows = np.arange(len(tokens), dtype=_INTEGER) if positions is None else np.asarray(positions, dtype=_INTEGER)
        if len(rows) and (rows[0] < 0 or rows[-1] >= len(tokens) or (np.diff(rows) <= 0).any()):
            raise ValueError(f"positions of sequence {sequence_id!r} must ascend within 0 … {len(tokens) - 1}: {rows}")
        record = np.array(
            (self.tokens, len(tokens), self.rows, len(rows), self._id_bytes, len(name), text_hash), dtype=_RECORD
        )
        places = b"" if spans is None else spans[rows].astype(_INTEGER).tobytes()
        try:
            for file, content in zip(
                self._files, (tokens.tobytes(), rows.tobytes(), record.tobytes(), name, places), strict=True
            ):
                file.write(content)
        except OSError as error:
            raise self._failure(error) from error
        self.sequences += 1
        self.tokens += len(tokens)
        self.rows += len(rows)
        self._id_bytes += len(name)
        self._dirty = True

    def token_ids(self, sequence: int) -> Int[np.ndarray, " token"]:
        """Return every token of a sequence."""
        record = self._records(sequence, sequence + 1)[0]
        return self._integers(self._token_file, record["first_token"], record["tokens"])

    def rows_of(self, sequence: int) -> tuple[int, Int[np.ndarray, " row"]]:
        """Return the number of a sequence's first row, and the position of each of its rows."""
        record = self._records(sequence, sequence + 1)[0]
        return int(record["first_row"]), self._integers(self._position_file, record["first_row"], record["rows"])

    def sequence_id(self, sequence: int) -> str:
        """Return the id of a sequence."""
        record = self._records(sequence, sequence + 1)[0]
        return self._read(self._id_file, int(record["first_byte"]), int(record["id_bytes"])).decode()

    def lengths(self, start: int, stop: int) -> Int[np.ndarray, " sequence"]:
        """Return the number of tokens of the sequences from `start` up to `stop`."""
        return self._records(start, stop)["tokens"].copy()

    def row_counts(self, start: int, stop: int) -> Int[np.ndarray, " sequence"]:
        """Return the number of rows of the sequences from `start` up to `stop`."""
        return self._records(start, stop)["rows"].copy()

    def blocks(self) -> Iterator[IndexBlock]:
        """Go through everything in order, in blocks of about a million tokens at most (one sequence at least)."""
        for start in range(0, self.sequences, _BLOCK_SEQUENCES):
            records = self._records(start, min(start + _BLOCK_SEQUENCES, self.sequences))
            block = (records["first_token"] - records["first_token"][0]) // _BLOCK_TOKENS
            for part in np.split(records, np.flatnonzero(np.diff(block)) + 1):
                yield self._block(start, part)
                start += len(part)

    def close(self) -> None:
        """Give everything back to the system."""
        for file in self._files:
            file.close()

    def __enter__(self) -> "SequenceIndex":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _block(self, first_sequence: int, records: np.ndarray) -> IndexBlock:
        counts, first = records["rows"], records[0]
        position = self._integers(self._position_file, first["first_row"], counts.sum())
        tokens = self._integers(self._token_file, first["first_token"], records["tokens"].sum())
        first_token = np.repeat(records["first_token"] - first["first_token"], counts)
        names = self._read(self._id_file, int(first["first_byte"]), int(records["id_bytes"].sum()))
        ends = np.cumsum(records["id_bytes"])
        spans = self._integers(self._span_file, 2 * first["first_row"], 2 * counts.sum()) if self.spans else None
        return IndexBlock(
            first_sequence=first_sequence,
            first_row=int(first["first_row"]),
            sequence_id=[names[end - size : end].decode() for end, size in zip(ends, records["id_bytes"], strict=True)],
            sequence_length=records["tokens"].copy(),
            sequence_index=np.repeat(np.arange(first_sequence, first_sequence + len(records), dtype=np.int64), counts),
            position=position,
            token_id=tokens[first_token + position],
            spans=None if spans is None else spans.reshape(-1, 2),
            text_hash=records["text_hash"].copy(),
        )

    def _records(self, start: int, stop: int) -> np.ndarray:
        if not 0 <= start <= stop <= self.sequences:
            raise IndexError(f"sequences {start} to {stop} of {self.sequences}")
        content = self._read(self._record_file, start * _RECORD.itemsize, (stop - start) * _RECORD.itemsize)
        return np.frombuffer(content, dtype=_RECORD)

    def _integers(self, file: IO[bytes], first: Any, count: Any) -> Int[np.ndarray, " count"]:
        content = self._read(file, int(first) * _INTEGER.itemsize, int(count) * _INTEGER.itemsize)
        return np.frombuffer(content, dtype=_INTEGER)

    def _read(self, file: IO[bytes], offset: int, size: int) -> bytes:
        if self._dirty:
            try:
                for each in self._files:
                    each.flush()
            except OSError as error:
                raise self._failure(error) from error
            self._dirty = False
        return os.pread(file.fileno(), size, offset)

    def _failure(self, error: OSError) -> CaptureError:
        return CaptureError(
            f"cannot keep the tokens of the texts in {self._folder}: {error.strerror}\nfree some disk there"
        )


def _encoded(sequence_id: str, sequence: int) -> bytes:
    try:
        name = sequence_id.encode()
    except UnicodeEncodeError as error:
        raise CaptureError(f"the id of sequence {sequence} is no text: {sequence_id!r}\nmend the field id") from error
    if b"\0" in name:
        raise CaptureError(f"the id of sequence {sequence} holds a NUL character: {sequence_id!r}\nmend the field id")
    return name
