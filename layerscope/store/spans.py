"""Describe the characters of each row in its text, by which captures with different tokenizers are aligned.

This module does not depend on files.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

__all__ = ["Spans"]


@dataclass(frozen=True)
class Spans:
    """The positions of all rows in their texts.

    Attributes
    ----------
    start, end
        For each row: where its characters begin and end; equal for a token without characters, such as a special token.
    sequence_id, text_hash
        For each text: its id, and the hash that distinguishes it from another text with this id.
    """

    start: Int[np.ndarray, " token"]
    end: Int[np.ndarray, " token"]
    sequence_id: list[str]
    text_hash: Int[np.ndarray, " sequence"]
