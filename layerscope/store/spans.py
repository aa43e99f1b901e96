"""Which characters of which text the rows of a capture stand for: what two tokenizers have in common.

This module knows arrays; it knows no file.
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
