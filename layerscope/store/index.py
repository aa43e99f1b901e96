"""Store the tokens of every text in temporary files while the texts stream.

A capture reads its texts once. It needs the number of rows before it lays out the file, and all tokens of a text again when the
model runs, even of texts of which only some rows are stored. Eight append-only files hold them, so memory stays constant
however many texts there are.

This module does not use HDF5.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import Int

from layerscope.errors import CaptureError
from layerscope.states import MEAN
from layerscope.store.index_block import IndexBlock
from layerscope.store.temporary_files import TemporaryFiles
from layerscope.texts.text import Metadata

__all__ = ["SequenceIndex"]

_RECORD = np.dtype(
    [
        ("first_token", "<i8"),
        ("tokens", "<i4"),
        ("first_row", "<i8"),
        ("rows", "<i4"),
        ("first_byte", "<i8"),  # of the id
        ("id_bytes", "<i4"),
        ("text_hash", "<i8"),
        ("first_metadata_byte", "<i8"),
        ("metadata_bytes", "<i4"),
    ]
)
_INTEGER = np.dtype("<i4")
_TOKENS, _POSITIONS, _RECORDS, _IDS, _SPANS, _METADATA, _ROLES, _GENERATED = _FILES = range(8)
_BLOCK_SEQUENCES = 4096
_BLOCK_TOKENS = 1 << 20


class SequenceIndex:
    """All sequences of a capture, in input order: ids, token ids, and the positions of the tokens that become rows.

    Add every sequence first; then read in any order and from any thread.

    Parameters
    ----------
    folder
        The folder of the temporary files; they take 4 bytes for each token and each row. The system's temporary folder by
        default.
    spans
        Whether each token has the range of its characters, which takes another 8 bytes for each row.
    metadata
        Names of the metadata of each sequence.
    roles, generated
        Whether each token has a role; whether generated tokens are marked.

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

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        spans: bool = False,
        metadata: tuple[str, ...] = (),
        roles: bool = False,
        generated: bool = False,
    ) -> None:
        self.spans = spans
        self.metadata = metadata
        self.roles: dict[str, int] | None = {} if roles else None
        self.generated = generated
        self.sequences = 0
        self.tokens = 0
        self.rows = 0
        self._id_bytes = 0
        self._metadata_bytes = 0
        self._files = TemporaryFiles(folder, len(_FILES))

    def add(
        self,
        sequence_id: str,
        token_ids: list[int] | Int[np.ndarray, " token"],
        positions: list[int] | Int[np.ndarray, " row"] | None = None,
        spans: Int[np.ndarray, "token 2"] | None = None,
        text_hash: int = 0,
        metadata: Mapping[str, Metadata] | None = None,
        roles: Sequence[str] | None = None,
        prompt: int | None = None,
    ) -> None:
        """Append a sequence.

        Parameters
        ----------
        sequence_id
            The id of the text.
        token_ids
            Every token that the model will run on.
        positions
            The positions that become rows, in ascending order; None for all.
        spans, text_hash
            Where each token's characters begin and end, and the hash of the text; required by an index with spans.
        metadata
            The values of the metadata, by name.
        roles
            The role of each token, for an index with roles.
        prompt
            Number of tokens before the generated ones, for an index that marks these; None if nothing was generated.

        Raises
        ------
        CaptureError
            The id cannot be written as UTF-8 or contains a NUL character, or the disk is full.
        ValueError
            The positions are not ascending positions of the sequence, or `spans` does not match the index: a programming
            error.
        """
        if (spans is None) == self.spans:
            raise ValueError(f"sequence {sequence_id!r}: spans are {'missing' if self.spans else 'not requested'}")
        name = _encoded(sequence_id, self.sequences)
        tokens = np.asarray(token_ids, dtype=_INTEGER)
        rows = np.arange(len(tokens), dtype=_INTEGER) if positions is None else np.asarray(positions, dtype=_INTEGER)
        if (
            rows.tolist() != [MEAN]
            and len(rows)
            and (rows[0] < 0 or rows[-1] >= len(tokens) or (np.diff(rows) <= 0).any())
        ):
            raise ValueError(f"positions of sequence {sequence_id!r} must ascend within 0 … {len(tokens) - 1}: {rows}")
        values = json.dumps(dict(metadata)).encode() if metadata else b""
        bytes_of = (self._id_bytes, len(name), text_hash, self._metadata_bytes, len(values))
        record = np.array((self.tokens, len(tokens), self.rows, len(rows), *bytes_of), dtype=_RECORD)
        row_spans = b"" if spans is None else spans[rows].astype(_INTEGER).tobytes()
        self._files.append(
            tokens.tobytes(),
            rows.tobytes(),
            record.tobytes(),
            name,
            row_spans,
            values,
            *self._labels(rows, roles, prompt),
        )
        self.sequences += 1
        self.tokens += len(tokens)
        self.rows += len(rows)
        self._id_bytes += len(name)
        self._metadata_bytes += len(values)

    def _labels(
        self, rows: Int[np.ndarray, " row"], roles: Sequence[str] | None, prompt: int | None
    ) -> tuple[bytes, bytes]:
        """Return the codes of the roles of the rows, and which of them were generated."""
        codes, made = b"", b""
        if self.roles is not None:
            names = ["" if row == MEAN or roles is None else roles[row] for row in rows]
            codes = np.array([self.roles.setdefault(name, len(self.roles)) for name in names], _INTEGER).tobytes()
        if self.generated:
            made = (np.zeros(len(rows), bool) if prompt is None else rows >= prompt).astype(_INTEGER).tobytes()
        return codes, made

    def token_ids(self, sequence: int) -> Int[np.ndarray, " token"]:
        """Return every token of a sequence."""
        record = self._records(sequence, sequence + 1)[0]
        return self._integers(_TOKENS, record["first_token"], record["tokens"])

    def rows_of(self, sequence: int) -> tuple[int, Int[np.ndarray, " row"]]:
        """Return the number of a sequence's first row, and the position of each of its rows."""
        record = self._records(sequence, sequence + 1)[0]
        return int(record["first_row"]), self._integers(_POSITIONS, record["first_row"], record["rows"])

    def sequence_id(self, sequence: int) -> str:
        """Return the id of a sequence."""
        record = self._records(sequence, sequence + 1)[0]
        return self._files.read(_IDS, int(record["first_byte"]), int(record["id_bytes"])).decode()

    def lengths(self, start: int, stop: int) -> Int[np.ndarray, " sequence"]:
        """Return the number of tokens of the sequences from `start` up to `stop`."""
        return self._records(start, stop)["tokens"].copy()

    def blocks(self) -> Iterator[IndexBlock]:
        """Yield everything in order, in blocks of about a million tokens at most, with at least one sequence each."""
        for start in range(0, self.sequences, _BLOCK_SEQUENCES):
            records = self._records(start, min(start + _BLOCK_SEQUENCES, self.sequences))
            block = (records["first_token"] - records["first_token"][0]) // _BLOCK_TOKENS
            for part in np.split(records, np.flatnonzero(np.diff(block)) + 1):
                yield self._block(start, part)
                start += len(part)

    def close(self) -> None:
        """Close the temporary files, which removes them."""
        self._files.close()

    def __enter__(self) -> "SequenceIndex":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _block(self, first_sequence: int, records: np.ndarray) -> IndexBlock:
        counts, first = records["rows"], records[0]
        position = self._integers(_POSITIONS, first["first_row"], counts.sum())
        tokens = self._integers(_TOKENS, first["first_token"], records["tokens"].sum())
        first_token = np.repeat(records["first_token"] - first["first_token"], counts)
        metadata = self._texts(_METADATA, first["first_metadata_byte"], records["metadata_bytes"])
        names_of_roles = list(self.roles or ())
        codes = self._integers(_ROLES, first["first_row"], counts.sum()) if self.roles is not None else None
        made = self._integers(_GENERATED, first["first_row"], counts.sum()) if self.generated else None
        spans = self._integers(_SPANS, 2 * first["first_row"], 2 * counts.sum()) if self.spans else None
        return IndexBlock(
            first_sequence=first_sequence,
            first_row=int(first["first_row"]),
            sequence_id=self._texts(_IDS, first["first_byte"], records["id_bytes"]),
            sequence_length=records["tokens"].copy(),
            sequence_index=np.repeat(np.arange(first_sequence, first_sequence + len(records), dtype=np.int64), counts),
            position=position,
            token_id=np.where(position == MEAN, _INTEGER.type(MEAN), tokens[first_token + np.maximum(position, 0)]),
            spans=None if spans is None else spans.reshape(-1, 2),
            text_hash=records["text_hash"].copy(),
            metadata=[json.loads(text) if text else {} for text in metadata],
            role=None if codes is None else [names_of_roles[code] for code in codes],
            generated=None if made is None else made.astype(bool),
        )

    def _texts(self, file: int, first: Any, sizes: Int[np.ndarray, " sequence"]) -> list[str]:
        """Return consecutive texts of these sizes in bytes."""
        content = self._files.read(file, int(first), int(sizes.sum()))
        return [content[end - size : end].decode() for end, size in zip(np.cumsum(sizes), sizes, strict=True)]

    def _records(self, start: int, stop: int) -> np.ndarray:
        if not 0 <= start <= stop <= self.sequences:
            raise IndexError(f"sequences {start} to {stop} of {self.sequences}")
        content = self._files.read(_RECORDS, start * _RECORD.itemsize, (stop - start) * _RECORD.itemsize)
        return np.frombuffer(content, dtype=_RECORD)

    def _integers(self, file: int, first: Any, count: Any) -> Int[np.ndarray, " count"]:
        content = self._files.read(file, int(first) * _INTEGER.itemsize, int(count) * _INTEGER.itemsize)
        return np.frombuffer(content, dtype=_INTEGER)


def _encoded(sequence_id: str, sequence: int) -> bytes:
    try:
        name = sequence_id.encode()
    except UnicodeEncodeError as error:
        raise CaptureError(
            f"the id of sequence {sequence} is no text: {sequence_id!r}\ncorrect the field id"
        ) from error
    if b"\0" in name:
        raise CaptureError(f"the id of sequence {sequence} has a NUL character: {sequence_id!r}\ncorrect the field id")
    return name
