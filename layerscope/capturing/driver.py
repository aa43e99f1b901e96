"""Run a model over all sequences in batches, and pass the states of each batch to a sink as token rows.

This module does not write files.
"""

import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch

from layerscope.capturing.batch_rows import BatchRows, plan_rows
from layerscope.capturing.compiled import compiled_blocks
from layerscope.capturing.gathering import GatheredBatch, Gatherer
from layerscope.capturing.protocol import Receive, Session
from layerscope.capturing.request import CaptureRequest
from layerscope.errors import CaptureError
from layerscope.progress import progress
from layerscope.states import Sink
from layerscope.store.finite import check_layout
from layerscope.store.index import SequenceIndex
from layerscope.threads import BackgroundConsumer

__all__ = ["run_batches"]


class _Unsound(Exception):  # noqa: N818  (a signal, not an error)
    """A state of this batch cannot be stored."""

    def __init__(self, batch: BatchRows) -> None:
        super().__init__()
        self.batch = batch


def run_batches(
    request: CaptureRequest,
    index: SequenceIndex,
    sinks: Sequence[Sink],
    *,
    store_dtype: torch.dtype | None = None,
    done_rows: int = 0,
) -> None:
    """Run the model over all sequences, and update `sinks` with the rows of each batch in a background thread.

    Parameters
    ----------
    request
        The model, the backend and the states to record.
    index
        The sequences, and which of their tokens become rows.
    sinks
        Each receives the rows of each batch. A sink that keeps no reference to them has the attribute ``keeps_rows = False``.
    store_dtype
        The type in which a sink stores the states; None if they are not stored.
    done_rows
        Number of rows that an earlier run stored; the batches of these rows are skipped.

    Raises
    ------
    CaptureError
        A state is not finite, or does not fit the storage type; a text does not fit the memory of the device.
    """
    try:
        _run(request, index, sinks, store_dtype, done_rows)
    except _Unsound as found:
        _explain(request, index, found.batch, store_dtype)


def _run(
    request: CaptureRequest,
    index: SequenceIndex,
    sinks: Sequence[Sink],
    store_dtype: torch.dtype | None,
    done_rows: int,
) -> None:
    reuse = not any(getattr(sink, "keeps_rows", True) for sink in sinks)
    gatherer = Gatherer(request.spec, store_dtype if len(sinks) == 1 else None, reuse=reuse)

    def consume(gathered: GatheredBatch) -> None:
        try:
            if not gathered.wait():
                raise _Unsound(gathered.batch)
            rows = gathered.rows()
            for sink in sinks:
                sink.update(rows)
        finally:
            gatherer.release(gathered)

    with (
        _session(request, gatherer.take) as session,
        compiled_blocks(request.model) if request.options.compile else nullcontext(),
        progress("capturing", total=index.tokens) as advance,
        BackgroundConsumer(consume, "layerscope-sinks") as consumer,
    ):
        rows = 0
        runner = _Runner(request, index, session, gatherer)
        for batch in plan_rows(index, request.batch_tokens, request.model.length_dependence):
            rows += batch.rows
            if rows > done_rows:
                consumer.put(runner.run(batch))
            advance(batch.tokens)


class _Runner:
    """Runs batches, in parts where one does not fit the memory of the device."""

    def __init__(self, request: CaptureRequest, index: SequenceIndex, session: Session, gatherer: Gatherer) -> None:
        self._model, self._feed, self._index = request.model, request.feed, index
        self._session, self._gatherer = session, gatherer
        self._most = request.batch_tokens

    def run(self, batch: BatchRows) -> GatheredBatch:
        self._gatherer.begin(batch)
        start, lines = 0, len(batch.sequences)
        while start < lines:
            part = batch.part(start, start + self._fitting(batch, start))
            self._gatherer.run(part)
            try:
                self._session(self._feed.inputs(part, self._index))
            except torch.OutOfMemoryError as error:
                self._halve(part, error)
                continue
            self._gatherer.done()
            start += len(part.sequences)
        return self._gatherer.end()

    def _fitting(self, batch: BatchRows, start: int) -> int:
        """Return the number of lines from `start` on that run at once: all of them, unless memory has run out before."""
        longest = max(map(len, batch.token_ids[start:]))
        return max(1, self._most // longest)

    def _halve(self, part: BatchRows, error: torch.OutOfMemoryError) -> None:
        """Run smaller parts from now on; refuse if the part is one text."""
        longest, lines = max(map(len, part.token_ids)), len(part.sequences)
        if lines == 1:
            raise CaptureError(
                f"{self._model.name}: a text of {longest:,} tokens does not fit the memory of {self._model.devices}\n"
                "give a lower --max-length, --dtype bfloat16, fewer --layers, or --device-map auto"
            ) from error
        self._most = longest * (lines // 2)
        warnings.warn(
            f"{self._model.devices} ran out of memory with {longest * lines:,} tokens; "
            f"continuing with {self._most:,} at once (--batch-tokens)",
            stacklevel=2,
        )
        torch.cuda.empty_cache()


def _session(request: CaptureRequest, receive: Receive) -> AbstractContextManager[Session]:
    return request.backend.session(request.model, request.spec, receive)


def _explain(request: CaptureRequest, index: SequenceIndex, batch: BatchRows, store_dtype: torch.dtype | None) -> None:
    """Run a batch again, to name the state that cannot be stored, and its text."""
    gatherer = Gatherer(request.spec)
    with _session(request, gatherer.take) as session:
        rows = _Runner(request, index, session, gatherer).run(batch)
    rows.wait()
    check_layout(rows.rows(), request.layout, sequence_id=index.sequence_id, store_dtype=store_dtype)
    raise CaptureError(
        f"{request.model.name}: a state was NaN or Inf, and finite when its batch ran again\n"
        "the device computes different numbers each time: try another --device or --dtype"
    )
