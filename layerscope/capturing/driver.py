"""Run a model over all sequences in batches, and pass the states of each batch to a sink as token rows.

The batches depend only on the texts and the token budget, so a resumed capture runs the same batches as an uninterrupted
one. This module does not write files.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from layerscope.capturing.protocol import BatchStates
from layerscope.capturing.request import CaptureRequest
from layerscope.models.length_dependence import INDEPENDENT, LengthDependence
from layerscope.progress import progress
from layerscope.states import MEAN, Sink, StateRows
from layerscope.store.index import SequenceIndex
from layerscope.texts.batches import pad_batch, plan_batches
from layerscope.threads import BackgroundConsumer

__all__ = ["BatchRows", "gather_rows", "plan_rows", "run_batches"]

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


def run_batches(request: CaptureRequest, index: SequenceIndex, sink: Sink, done_rows: int = 0) -> None:
    """Run the model over all sequences, and update `sink` with the rows of each batch in a background thread.

    Parameters
    ----------
    request
        The model, the backend and the states to record.
    index
        The sequences, and which of their tokens become rows.
    sink
        Receives the rows of each batch.
    done_rows
        Number of rows that an earlier run stored; the batches of these rows are skipped.
    """
    model = request.model

    def consume(item: tuple[BatchStates, BatchRows]) -> None:
        sink.update(gather_rows(*item))

    with (
        request.backend.session(model, request.spec) as session,
        progress("capturing", total=index.tokens) as advance,
        BackgroundConsumer(consume, "layerscope-sinks") as consumer,
    ):
        rows = 0
        for batch in plan_rows(index, request.options.batch_tokens, model.length_dependence):
            rows += batch.rows
            if rows > done_rows:
                input_ids, attention_mask = pad_batch(batch.token_ids, model.pad_id, "right")
                consumer.put((session(input_ids, attention_mask, None), batch))
            advance(batch.tokens)


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


def gather_rows(states: BatchStates, batch: BatchRows) -> StateRows:
    """Copy the selected tokens of a right-padded batch into rows, in input order.

    The copy runs sequence by sequence: each piece fits the CPU cache and does not use the threads of the model.
    """
    counts = [len(positions) for positions in batch.positions]
    order = np.argsort(batch.first_row)
    last = [] if states.final_norm is None else [states.final_norm]
    any_state = next(iter([*states.hidden, *states.attn, *states.mlp, *last]))

    def gather(streams: list[torch.Tensor]) -> torch.Tensor:
        # Contiguous by layer, like the model's outputs and the file; transposed to token rows.
        rows = any_state.new_empty(len(streams), sum(counts), any_state.shape[-1], device="cpu").transpose(0, 1)
        start = 0
        for line in order:
            stop, length = start + counts[line], len(batch.token_ids[line])
            for layer, stream in enumerate(streams):
                rows[start:stop, layer] = _selected(stream[line, :length], batch.positions[line])
            start = stop
        return rows

    return StateRows(
        gather(states.hidden),
        row=np.concatenate([batch.first_row[line] + np.arange(counts[line]) for line in order]),
        sequence_index=np.repeat(batch.sequences[order], np.take(counts, order)),
        position=np.concatenate([batch.positions[line] for line in order]),
        token_id=np.concatenate([_ids(batch.token_ids[line], batch.positions[line]) for line in order]),
        final_norm=gather(last)[:, 0] if last else None,
        attn_out=gather(states.attn) if states.attn else None,
        mlp_out=gather(states.mlp) if states.mlp else None,
    )


def _selected(
    stream: Float[torch.Tensor, "token feature"], positions: Int[np.ndarray, " _"]
) -> Float[torch.Tensor, "_ feature"]:
    """Return the states of selected tokens; the mean over all tokens for the position `MEAN`."""
    if not len(positions):
        return stream[:0]
    if positions.tolist() == [MEAN]:
        return stream.mean(0, keepdim=True, dtype=torch.float32 if stream.device.type == "mps" else torch.float64)
    return stream[_indices(positions)]


def _ids(token_ids: Int[np.ndarray, " _"], positions: Int[np.ndarray, " _"]) -> Int[np.ndarray, " _"]:
    ids: Int[np.ndarray, " _"] = np.where(positions == MEAN, MEAN, token_ids[np.maximum(positions, 0)])
    return ids.astype(token_ids.dtype)


def _indices(positions: Int[np.ndarray, " _"]) -> slice | torch.Tensor:
    """Return ascending positions, one at least, as an index: a slice if they are consecutive, which is faster to copy."""
    first, last = int(positions[0]), int(positions[-1])
    return slice(first, last + 1) if last - first + 1 == len(positions) else torch.tensor(positions)
