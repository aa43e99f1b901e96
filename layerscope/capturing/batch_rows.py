"""Plan the batches of a capture, and which tokens of each become rows.

The batches depend only on the texts and the token budget, so a resumed capture runs the same batches as an uninterrupted one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from layerscope.models.length_dependence import INDEPENDENT, LengthDependence
from layerscope.states import MEAN
from layerscope.store.index import SequenceIndex
from layerscope.texts.batches import plan_batches

__all__ = ["BatchRows", "plan_rows"]

_WINDOW = 4096
"""Number of sequences that are sorted by length at a time; bounds the memory for their lengths."""


@dataclass(frozen=True)
class BatchRows:
    """The tokens of one batch that become rows.

    Attributes
    ----------
    sequences
        Index of the sequence in each line of the batch.
    token_ids
        Token ids of each line, without padding.
    positions
        Selected positions of each line.
    first_row
        Row number of the first selected token of each line.
    """

    sequences: Int[np.ndarray, " sequence"]
    token_ids: list[Int[np.ndarray, " _"]]
    positions: list[Int[np.ndarray, " _"]]
    first_row: Int[np.ndarray, " sequence"]

    @property
    def tokens(self) -> int:
        """Number of tokens that the model runs, without padding."""
        return sum(map(len, self.token_ids))

    @property
    def rows(self) -> int:
        """Number of rows of the batch."""
        return sum(map(len, self.positions))

    def part(self, start: int, stop: int) -> "BatchRows":
        """Return some consecutive lines."""
        of = slice(start, stop)
        return BatchRows(self.sequences[of], self.token_ids[of], self.positions[of], self.first_row[of])

    @property
    def order(self) -> Int[np.ndarray, " sequence"]:
        """The lines in the order of their rows."""
        return np.argsort(self.first_row)

    def labels(self) -> dict[str, Int[np.ndarray, " token"]]:
        """Return the row number, sequence, position and token id of each row, in input order."""
        order = self.order
        counts = [len(self.positions[line]) for line in order]
        return {
            "row": np.concatenate([self.first_row[line] + np.arange(len(self.positions[line])) for line in order]),
            "sequence_index": np.repeat(self.sequences[order], counts),
            "position": np.concatenate([self.positions[line] for line in order]),
            "token_id": np.concatenate([_ids(self.token_ids[line], self.positions[line]) for line in order]),
        }


def _ids(token_ids: Int[np.ndarray, " _"], positions: Int[np.ndarray, " _"]) -> Int[np.ndarray, " _"]:
    ids: Int[np.ndarray, " _"] = np.where(positions == MEAN, MEAN, token_ids[np.maximum(positions, 0)])
    return ids.astype(token_ids.dtype)


def plan_rows(
    index: SequenceIndex, batch_tokens: int, dependence: LengthDependence = INDEPENDENT
) -> Iterator[BatchRows]:
    """Yield batches of sequences of similar length.

    Parameters
    ----------
    index
        The sequences, and which of their tokens become rows.
    batch_tokens
        Tokens of a batch, padding included; a longer sequence is a batch of one.
    dependence
        Which lengths may share a batch.
    """
    for start in range(0, index.sequences, _WINDOW):
        lengths = index.lengths(start, min(start + _WINDOW, index.sequences))
        for lines in plan_batches(lengths, batch_tokens, groups=dependence.groups(lengths)):
            yield _batch_rows(index, start + lines)


def _batch_rows(index: SequenceIndex, sequences: Int[np.ndarray, " sequence"]) -> BatchRows:
    rows = [index.rows_of(int(sequence)) for sequence in sequences]
    return BatchRows(
        sequences=sequences,
        token_ids=[index.token_ids(int(sequence)) for sequence in sequences],
        positions=[positions for _, positions in rows],
        first_row=np.array([first for first, _ in rows]),
    )
