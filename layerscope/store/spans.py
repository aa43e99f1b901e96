"""The characters of each row in its text, by which captures of two tokenizers are aligned.

This module does not depend on files.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

__all__ = ["Spans"]


@dataclass(frozen=True)
class Spans:
    """The places of all rows in their texts.

    Attributes
    ----------
    start, end
        Where each row's characters begin and end; equal for a token without characters, such as a special one.
    sequence_id, text_hash
        What each text is called, and what tells it from another of that name.
    """

    start: Int[np.ndarray, " token"]
    end: Int[np.ndarray, " token"]
    sequence_id: list[str]
    text_hash: Int[np.ndarray, " sequence"]
