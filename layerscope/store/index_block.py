"""Consecutive sequences of a capture, as `layerscope.store.index.SequenceIndex` yields them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from layerscope.store.schema import SEQUENCE, TOKEN
from layerscope.texts.text import Metadata

__all__ = ["IndexBlock"]


@dataclass(frozen=True)
class IndexBlock:
    """Consecutive sequences and their rows.

    Attributes
    ----------
    first_sequence, first_row
        Numbers of the first sequence and the first row.
    sequence_id, sequence_length
        For each sequence: its id, and the number of tokens that the model runs on.
    sequence_index, position, token_id
        For each row: the number of its sequence, its position there, and its token.
    spans
        For each row: where its characters begin and end; None if the index has no spans.
    text_hash
        For each sequence: the hash of its text; 0 if the index has no spans.
    metadata
        For each sequence: the values of its metadata, by name.
    role
        For each row: the role of its token; None if the index has no roles.
    generated
        For each row: whether the model generated its token; None if the index does not mark these.
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
    metadata: list[Mapping[str, Metadata]]
    role: list[str] | None
    generated: Bool[np.ndarray, " token"] | None

    @property
    def extent(self) -> dict[str, tuple[int, int]]:
        """The first row and the first sequence, and how many there are, by dimension."""
        return {
            TOKEN: (self.first_row, len(self.position)),
            SEQUENCE: (self.first_sequence, len(self.sequence_id)),
        }
