"""One driver for every backend and every sink: batches in, rows out.

The batches are a pure function of the texts and the token budget, so that a resumed capture runs exactly the batches an
undisturbed one would have run. Knows no file.
"""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Int

from layerscope.capturing.protocol import Backend, BatchStates, Wanted
from layerscope.capturing.rows import BatchRows, gather
from layerscope.capturing.worker import Worker
from layerscope.models.length_dependence import INDEPENDENT, LengthDependence
from layerscope.models.model import Model
from layerscope.progress import progress
from layerscope.states import StateRows
from layerscope.store.index import SequenceIndex
from layerscope.texts.batches import pad_batch, plan_batches

__all__ = ["plan_rows", "run"]

_WINDOW = 4096
"""Sequences among which those of like length are brought together: what is held in memory of the lengths at a time."""

Take = Callable[[StateRows], None]


def plan_rows(
    index: SequenceIndex, batch_tokens: int, dependence: LengthDependence = INDEPENDENT
) -> Iterator[BatchRows]:
    """Go through all sequences in batches of like length, window by window; texts share a batch only where they may."""
    for start in range(0, index.sequences, _WINDOW):
        lengths = index.lengths(start, min(start + _WINDOW, index.sequences))
        for chosen in plan_batches(lengths, batch_tokens, groups=dependence.groups(lengths)):
            yield _batch_rows(index, start + chosen)


def _batch_rows(index: SequenceIndex, sequences: Int[np.ndarray, " sequence"]) -> BatchRows:
    rows = [index.rows_of(int(sequence)) for sequence in sequences]
    return BatchRows(
        sequences=sequences,
        token_ids=[index.token_ids(int(sequence)) for sequence in sequences],
        positions=[positions for _, positions in rows],
        first_row=np.array([first for first, _ in rows]),
    )


def run(
    model: Model,
    backend: Backend,
    wanted: Wanted,
    index: SequenceIndex,
    *,
    batch_tokens: int,
    done_rows: int,
    take: Take,
) -> None:
    """Run the model over all sequences and hand each batch's rows to `take`, in a thread of its own.

    Parameters
    ----------
    model, backend, wanted
        What runs, how, and which states are kept.
    index
        The sequences and which of their tokens become rows.
    batch_tokens
        Tokens of a batch, padding included; a longer sequence makes a batch of its own.
    done_rows
        How many rows an earlier run has already captured; the batches that gave them are passed over.
    take
        Called with the rows of each batch.
    """

    def hand_over(item: tuple[BatchStates, BatchRows]) -> None:
        take(gather(*item))

    with (
        backend.session(model, wanted) as session,
        progress("capturing", total=index.tokens) as advance,
        Worker(hand_over) as worker,
    ):
        rows = 0
        for batch in plan_rows(index, batch_tokens, model.length_dependence):
            rows += batch.rows
            if rows > done_rows:
                input_ids, attention_mask = pad_batch(batch.token_ids, model.pad_id, "right")
                worker.put((session(input_ids, attention_mask, None), batch))
            advance(batch.tokens)
