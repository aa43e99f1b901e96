"""Check that the settings and texts of a resumed capture match those of its file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from layerscope.errors import CaptureError, FileError
from layerscope.provenance import moving_weights
from layerscope.store.checksums import placement_checksum
from layerscope.store.hdf5 import open_dataset
from layerscope.store.header import opened, require_sound_index
from layerscope.store.index import SequenceIndex
from layerscope.store.index_block import IndexBlock
from layerscope.store.layout import Setting
from layerscope.store.metadata import first_other_metadata, metadata_types
from layerscope.store.schema import (
    CAPTURE,
    CHECKSUM,
    PLACEMENT_CHECKSUM,
    POSITION,
    SEQUENCE_ID,
    SEQUENCE_LENGTH,
    TEXT_HASH,
    TOKEN,
    TOKEN_ID,
)

__all__ = ["check_index", "first_difference", "refuse_other_settings", "require_resumable"]


def first_difference(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> str | None:
    """Describe the first setting in which a file to resume (a capture, a sweep) differs from the call.

    Parameters
    ----------
    stored
        The settings of the file, in any order.
    wanted
        The settings of the call, in the order of comparison.

    Returns
    -------
    str or None
        One clause, or None if they match.

    Examples
    --------
    >>> first_difference({"backend": "hooks", "seed": 0}, {"seed": 0, "backend": "nnsight"})
    "stored with backend 'hooks', got 'nnsight'"
    >>> first_difference({"tasks": ["x", "y"]}, {"tasks": ["x"]})
    'stored with tasks x, y, got x'
    >>> first_difference({"seed": 0}, {"seed": 0}) is None
    True
    """
    for name in [*wanted, *(name for name in stored if name not in wanted)]:
        if name not in stored:
            return f"stored without {name}, got {_short(wanted[name])}"
        if name not in wanted:
            return f"stored with {name} {_short(stored[name])}, got none"
        if stored[name] != wanted[name]:
            return f"stored with {name} {_short(stored[name])}, got {_short(wanted[name])}"
    return None


def _short(value: object) -> str:
    """Return the text of a setting; only long lists are cut, because hashes may differ at their end."""
    if not isinstance(value, list):
        return repr(value)
    text = ", ".join(map(str, value))
    return text if len(text) <= 60 else f"{text[:57]}…"


def refuse_other_settings(path: Path, stored: Mapping[str, Setting], wanted: Mapping[str, Setting]) -> None:
    """Refuse to resume a file with other settings.

    Raises
    ------
    CaptureError
        A setting differs. The message names the first one, and for weights from a moving source, what to do instead.
    """
    difference = first_difference(stored, wanted)
    if difference is None:
        return
    weights = stored.get("weights")
    same_else = first_difference(stored, {**wanted, "weights": weights}) is None
    if same_else and (moving := moving_weights(weights, wanted["weights"])):
        raise CaptureError(f"{path}: {moving}")
    raise CaptureError(f"{path}: {difference}. Resume with the same settings, or start again with --overwrite.")


def require_resumable(path: Path) -> None:
    """Refuse to resume a file whose index or chunks differ from those that were laid out.

    Raises
    ------
    FileError
        The file is missing, damaged, without checksums, or no capture.
    """
    with opened(path) as file:
        private = file[TOKEN].attrs if TOKEN in file else {}
        if CHECKSUM not in private:
            raise FileError(f"{path} was begun by a version that wrote no checksums\nstart again with --overwrite")
        require_sound_index(path, file)
        if private.get(PLACEMENT_CHECKSUM) != placement_checksum(file):
            raise FileError(f"{path} is damaged: its states are not where they were laid out\n{CAPTURE.remedy}")
    open_dataset(path, CAPTURE).close()  # refuses what xarray could not open once finished


def check_index(file: h5py.File, index: SequenceIndex, path: Path) -> None:
    """Refuse texts that differ from those of an unfinished capture.

    Memory holds one block of sequences at a time.

    Raises
    ------
    CaptureError
        A sequence differs; the message names the first one.
    """
    difference = _first_difference(file, index)
    if difference is not None:
        raise CaptureError(
            f"{path} was begun with other texts: {difference}\n"
            "give the same texts and options to --resume, or start again with --overwrite"
        )


def _first_difference(file: h5py.File, index: SequenceIndex) -> str | None:
    stored, types = len(file[SEQUENCE_ID]), metadata_types(index)
    for block in index.blocks():
        if block.first_sequence + len(block.sequence_id) > stored:
            break
        difference = _difference_in(file, block)
        if difference is not None:
            return difference
        if other := first_other_metadata(file, block.first_sequence, block.metadata, types):
            return f"sequence {other[1]} has another {other[0]}"
    if stored != index.sequences:
        return f"stored with {stored:,} sequences, got {index.sequences:,}"
    if len(file[TOKEN_ID]) != index.rows:
        return f"stored with {len(file[TOKEN_ID]):,} rows, got {index.rows:,}"
    return None


def _difference_in(file: h5py.File, block: IndexBlock) -> str | None:
    sequences = slice(block.first_sequence, block.first_sequence + len(block.sequence_id))
    of_sequences = [
        (SEQUENCE_ID, file[SEQUENCE_ID].asstr()[sequences], np.array(block.sequence_id, dtype=object)),
        (SEQUENCE_LENGTH, file[SEQUENCE_LENGTH][sequences], block.sequence_length),
    ]
    if block.spans is not None:  # texts with the same tokens may have other characters
        of_sequences.append((TEXT_HASH, file[TEXT_HASH][sequences], block.text_hash))
    for name, stored, got in of_sequences:
        wrong = np.flatnonzero(stored != got)
        if wrong.size:
            at = int(wrong[0])
            was, now = stored.tolist()[at], got.tolist()[at]
            return f"sequence {block.first_sequence + at} has {name} {was!r}, got {now!r}"
    rows = slice(block.first_row, block.first_row + len(block.position))
    for name, stored, got in (
        (POSITION, file[POSITION][rows], block.position),
        (TOKEN_ID, file[TOKEN_ID][rows], block.token_id),
    ):
        if len(stored) != len(got):
            return f"stored with {len(file[TOKEN_ID]):,} rows, got more"
        wrong = np.flatnonzero(stored != got)
        if wrong.size:
            at = int(wrong[0])
            sequence = int(block.sequence_index[at]) - block.first_sequence
            where = f"sequence {block.sequence_id[sequence]!r}, row {block.first_row + at}"
            return f"{where} has {name} {stored[at]}, got {got[at]}"
    return None
