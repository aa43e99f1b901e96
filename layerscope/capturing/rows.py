"""From the padded states of a batch to token rows: padding dropped, rows numbered in input order."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int

from layerscope.capturing.protocol import BatchStates
from layerscope.states import StateRows

__all__ = ["BatchRows", "gather"]


@dataclass(frozen=True)
class BatchRows:
    """Which tokens of one batch become which rows.

    Attributes
    ----------
    sequences
        The sequence index of each line of the batch.
    token_ids
        The ids of each line, without padding.
    positions
        The kept positions of each line.
    first_row
        The row number of each line's first kept token.
    """

    sequences: Int[np.ndarray, " sequence"]
    token_ids: list[Int[np.ndarray, " _"]]
    positions: list[Int[np.ndarray, " _"]]
    first_row: Int[np.ndarray, " sequence"]

    @property
    def tokens(self) -> int:
        """Number of tokens the model is run on, without padding."""
        return sum(map(len, self.token_ids))

    @property
    def rows(self) -> int:
        """Number of rows they give."""
        return sum(map(len, self.positions))


def gather(states: BatchStates, batch: BatchRows) -> StateRows:
    """Collect the kept tokens of a right-padded batch as rows, in input order.

    One copy, sequence by sequence: each piece is small enough to stay in the cache, and to be copied without waking the
    threads the model is computing with.
    """
    counts = [len(kept) for kept in batch.positions]
    order = np.argsort(batch.first_row)
    width = states.hidden[0].shape[-1]
    # Layer by layer in memory, as the model gives them and as the file takes them, seen as token rows.
    hidden = torch.empty(len(states.hidden), sum(counts), width, dtype=states.hidden[0].dtype).transpose(0, 1)
    normed = None if states.final_norm is None else torch.empty(sum(counts), width, dtype=hidden.dtype)
    at = 0
    for line in order:
        kept, until = batch.positions[line], at + counts[line]
        # A slice where it can be: all tokens, or the last one, are consecutive.
        whole = kept[-1] - kept[0] + 1 == len(kept)
        where = slice(int(kept[0]), int(kept[-1]) + 1) if whole else torch.tensor(kept)
        for layer, stream in enumerate(states.hidden):
            hidden[at:until, layer] = stream[line, where]
        if normed is not None and states.final_norm is not None:
            normed[at:until] = states.final_norm[line, where]
        at = until
    return StateRows(
        hidden,
        row=np.concatenate([batch.first_row[line] + np.arange(counts[line]) for line in order]),
        sequence_index=np.repeat(batch.sequences[order], np.take(counts, order)),
        position=np.concatenate([batch.positions[line] for line in order]),
        token_id=np.concatenate([batch.token_ids[line][batch.positions[line]] for line in order]),
        final_norm=normed,
    )
