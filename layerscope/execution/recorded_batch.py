"""Record the block calls of one batch, so that many schedules can run on it.

A batch can contain prefixes and their continuations. Each block then runs first on the prefixes and next on the
continuations, which read the keys and values of their prefix. These are dropped after the block call, so no cache is
kept, however many schedules run.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from transformers import DynamicCache

from layerscope.execution.kv_slots import SlottedCache, run_block
from layerscope.execution.scheduled import mean_stream
from layerscope.models.interception import BlockCalls, Stream, intercept_blocks
from layerscope.models.model import Model
from layerscope.schedules.schedule import Stage
from layerscope.texts.batches import position_ids

__all__ = ["RecordedBatch", "logits", "record_batch", "record_separately", "record_with_prefixes"]

_HEAD_TOKENS = 256  # tokens whose logits are in memory at a time


@dataclass(frozen=True)
class RecordedBatch:
    """A batch on which blocks can run in any order.

    Attributes
    ----------
    start
        State 0.
    call
        Runs one block: ``call(block, stream)``.
    """

    start: Stream
    call: Callable[[int, Stream], Stream]

    def run_stage(self, stage: Stage, stream: Stream) -> Stream:
        """Run one stage on a stream of this batch."""
        return mean_stream(self.call(block, stream) for block in stage)


class _CallsRecorded(Exception):  # noqa: N818  (a signal, not an error)
    """Stops a forward pass once all block calls are recorded."""


def _record_calls(model: Model, arguments: dict[str, Any]) -> BlockCalls:
    recorded: list[BlockCalls] = []

    def program(calls: BlockCalls) -> Stream:
        recorded.append(calls)
        raise _CallsRecorded

    with intercept_blocks(model, program), suppress(_CallsRecorded):
        model.trunk(**arguments)
    return recorded[0]


def record_batch(
    model: Model,
    input_ids: Int64[torch.Tensor, "sequence position"],
    attention_mask: Int64[torch.Tensor, "sequence position"],
) -> RecordedBatch:
    """Record the block calls of one batch, padded on either side, without running a block."""
    calls = _record_calls(model, model.inputs(input_ids, attention_mask, position_ids(attention_mask)))
    return RecordedBatch(calls.stream, calls)


def record_separately(
    model: Model, texts: Sequence[tuple[Int64[torch.Tensor, "_ _"], Int64[torch.Tensor, "_ _"]]]
) -> RecordedBatch:
    """Record the block calls of several batches that must not run as one batch.

    Returns
    -------
    RecordedBatch
        Its streams are ``[1, token, feature]``: all positions of the first batch, line by line, then those of the next.
    """
    batches = [record_batch(model, *text) for text in texts]
    shapes = [batch.start.shape for batch in batches]

    def call(block: int, stream: Stream) -> Stream:
        streams = torch.split(stream, [sequences * positions for sequences, positions, _ in shapes], dim=1)
        parts = zip(batches, streams, shapes, strict=True)
        return _flatten(*(batch.call(block, own.view(shape)) for batch, own, shape in parts))

    return RecordedBatch(_flatten(*(batch.start for batch in batches)), call)


def record_with_prefixes(
    model: Model,
    prefixes: tuple[Int64[torch.Tensor, "prefix position"], Int64[torch.Tensor, "prefix position"]],
    continuations: tuple[Int64[torch.Tensor, "continuation more"], Int64[torch.Tensor, "continuation more"]],
    prefix_of: Int64[torch.Tensor, " continuation"],
) -> RecordedBatch:
    """Record the block calls of a batch of prefixes and continuations.

    Parameters
    ----------
    model
        A decoder.
    prefixes
        Token ids and mask, padded on the left, so that the last token of a prefix is next to its continuation.
    continuations
        Token ids and mask, padded on the right.
    prefix_of
        Index of the prefix of each continuation.

    Returns
    -------
    RecordedBatch
        Its streams are ``[1, token, feature]``: all positions of the prefixes, line by line, then of the continuations.
    """
    (prefix_ids, prefix_mask), (next_ids, next_mask) = prefixes, continuations
    cache = DynamicCache(config=model.config)
    first = _record_calls(
        model,
        model.inputs(prefix_ids, prefix_mask, position_ids(prefix_mask))
        | {str(model.architecture.cache): cache, "use_cache": True},
    )
    full_mask = torch.cat([prefix_mask[prefix_of], next_mask], dim=1)
    positions = position_ids(full_mask)[:, prefix_ids.shape[1] :]
    past = copy.deepcopy(cache)  # no block has run, so it is empty
    slotted = SlottedCache(cache, model.depth)
    SlottedCache(past, model.depth).count(len(next_ids), prefix_ids.shape[1], first.stream)
    second = _record_calls(
        model, model.inputs(next_ids, full_mask, positions) | {str(model.architecture.cache): past, "use_cache": True}
    )
    lines = prefix_of.to(first.stream.device)
    split = first.stream.shape[0] * first.stream.shape[1]

    def call(block: int, stream: Stream) -> Stream:
        kv_slot = slotted.slot(block)
        prefix = run_block(first, block, stream[:, :split].view_as(first.stream), kv_slot)
        kv_slot.select(lines)
        continuation = run_block(second, block, stream[:, split:].view_as(second.stream), kv_slot)
        return _flatten(prefix, continuation)

    return RecordedBatch(_flatten(first.stream, second.stream), call)


def _flatten(*streams: torch.Tensor) -> Float[torch.Tensor, "1 token feature"]:
    return torch.cat([stream.flatten(0, 1) for stream in streams])[None]


def logits(model: Model, states: Float[torch.Tensor, "token feature"]) -> Iterator[Float[torch.Tensor, "_ vocabulary"]]:
    """Yield the logits of final states, a few hundred tokens at a time.

    The model's own forward computes them, on sequences of one token without any block, so all operations of the family after
    the last block (final norm, head, scaling, softcapping) apply.
    """
    for part in torch.split(states, _HEAD_TOKENS):
        ids = torch.zeros(len(part), 1, dtype=torch.long)
        with intercept_blocks(model, lambda calls, part=part: part[:, None]):  # type: ignore[misc]  # bound immediately
            outputs = model.module(**model.inputs(ids, torch.ones_like(ids))).logits[:, 0]
        yield outputs
