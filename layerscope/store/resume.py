"""Check that the settings and texts of a resumed capture match those of its file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from layerscope.errors import CaptureError
from layerscope.provenance import moving_weights
from layerscope.store.index import IndexBlock, SequenceIndex
from layerscope.store.layout import Setting
from layerscope.store.schema import POSITION, SEQUENCE_ID, SEQUENCE_LENGTH, TEXT_HASH, TOKEN_ID

__all__ = ["check_index", "first_difference", "refuse_other_settings"]


def first_difference(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> str | None:
    """Describe the first setting in which a file to resume (a capture, a sweep) differs from the call.

    Parameters
    ----------
    stored
        Of the file; its order counts for nothing.
    wanted
        Of the call, in the order of comparison.

    Returns
    -------
    str or None
        One clause, or None when they agree.

    Examples
    --------
    >>> first_difference({"backend": "hooks", "seed": 0}, {"seed": 0, "backend": "nnsight"})
    "stored with backend 'hooks', asked for 'nnsight'"
    >>> first_difference({"tasks": ["x", "y"]}, {"tasks": ["x"]})
    'stored with tasks x, y, asked for x'
    >>> first_difference({"seed": 0}, {"seed": 0}) is None
    True
    """
    for name in [*wanted, *(name for name in stored if name not in wanted)]:
        if name not in stored:
            return f"stored without {name}, asked for {_short(wanted[name])}"
        if name not in wanted:
            return f"stored with {name} {_short(stored[name])}, asked for without"
        if stored[name] != wanted[name]:
            return f"stored with {name} {_short(stored[name])}, asked for {_short(wanted[name])}"
    return None


def _short(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def refuse_other_settings(path: Path, stored: Mapping[str, Setting], wanted: Mapping[str, Setting]) -> None:
    """Refuse to resume a file that was begun with other settings.

    Raises
    ------
    CaptureError
        Names the first setting that differs; of weights, what to do where the same settings cannot be given again.
    """
    difference = first_difference(stored, wanted)
    if difference is None:
        return
    weights = stored.get("weights")
    same_else = first_difference(stored, {**wanted, "weights": weights}) is None
    if same_else and (moving := moving_weights(weights, wanted["weights"])):
        raise CaptureError(f"{path}: {moving}")
    raise CaptureError(f"{path}: {difference}. Resume with the same settings, or start again with --overwrite.")


def check_index(file: h5py.File, index: SequenceIndex, path: Path) -> None:
    """Refuse texts other than those an unfinished capture was begun with.

    Memory is that of one block, however many the texts.

    Raises
    ------
    CaptureError
        Names the first sequence that differs.
    """
    difference = _first_difference(file, index)
    if difference is not None:
        raise CaptureError(
            f"{path} was begun with other texts: {difference}\n"
            "give the same texts and options to --resume, or start again with --overwrite"
        )


def _first_difference(file: h5py.File, index: SequenceIndex) -> str | None:
    stored = len(file[SEQUENCE_ID])
    for block in index.blocks():
        if block.first_sequence + len(block.sequence_id) > stored:
            break
        difference = _difference_in(file, block)
        if difference is not None:
            return difference
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
    if block.spans is not None:  # the same tokens may be spelt otherwise, and have other characters
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
