"""One batch made ready for many schedules: its block calls recorded once, its head applied where it is wanted.

A batch may be forked: some sequences (branches) go on from others (stems). Then each block is run on the stems first and on
the branches after, which see their stem as a past; that past lives no longer than the call, whatever the schedule, so nothing
of it has to be kept.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from transformers import DynamicCache

from layerscope.execution.slots import fresh_slot, with_slot
from layerscope.execution.taps import BlockCalls, Stream, tapped
from layerscope.models.model import Model
from layerscope.texts.batches import position_ids

__all__ = ["Pass", "logits", "record", "record_apart", "record_forked"]

_HEAD_TOKENS = 256  # whose logits stand in memory together


@dataclass(frozen=True)
class Pass:
    """A batch as schedules see it: where it starts, and how a block is run on it.

    Attributes
    ----------
    start
        State 0.
    call
        ``call(block, stream)`` runs one block.
    """

    start: Stream
    call: Callable[[int, Stream], Stream]


class _RecordedError(Exception):
    """Raised inside a running model once its block calls are known."""


def _record(model: Model, arguments: dict[str, Any]) -> BlockCalls:
    recorded: list[BlockCalls] = []

    def program(calls: BlockCalls) -> Stream:
        recorded.append(calls)
        raise _RecordedError

    with tapped(model, program), suppress(_RecordedError):
        model.trunk(**arguments)
    return recorded[0]


def record(
    model: Model,
    input_ids: Int64[torch.Tensor, "sequence position"],
    attention_mask: Int64[torch.Tensor, "sequence position"],
) -> Pass:
    """Record the block calls of one batch, padded on either side; no block is run yet."""
    calls = _record(model, model.inputs(input_ids, attention_mask, position_ids(attention_mask)))
    return Pass(calls.stream, calls)


def record_apart(model: Model, texts: Sequence[tuple[Int64[torch.Tensor, "_ _"], Int64[torch.Tensor, "_ _"]]]) -> Pass:
    """Record the block calls of several batches that must not run as one.

    Returns
    -------
    Pass
        Its streams are ``[1, token, feature]``: all places of the first batch, line by line, then those of the next.
    """
    passes = [record(model, *text) for text in texts]
    shapes = [part.start.shape for part in passes]

    def call(block: int, stream: Stream) -> Stream:
        streams = torch.split(stream, [sequences * positions for sequences, positions, _ in shapes], dim=1)
        parts = zip(passes, streams, shapes, strict=True)
        return _flat(*(part.call(block, own.view(shape)) for part, own, shape in parts))

    return Pass(_flat(*(part.start for part in passes)), call)


def record_forked(
    model: Model,
    stems: tuple[Int64[torch.Tensor, "stem position"], Int64[torch.Tensor, "stem position"]],
    branches: tuple[Int64[torch.Tensor, "branch more"], Int64[torch.Tensor, "branch more"]],
    stem_of: Int64[torch.Tensor, " branch"],
) -> Pass:
    """Record the block calls of a forked batch.

    Parameters
    ----------
    model
        A decoder.
    stems
        Ids and mask, padded on the left, so that a stem's last token stands next to what follows.
    branches
        Ids and mask of what follows, padded on the right.
    stem_of
        Which stem each branch goes on from.

    Returns
    -------
    Pass
        Its streams are ``[1, token, feature]``: all places of the stems, line by line, then all of the branches.
    """
    (stem_ids, stem_mask), (branch_ids, branch_mask) = stems, branches
    long_mask = torch.cat([stem_mask[stem_of], branch_mask], dim=1)
    from_stem = stem_ids.shape[1]
    positions = position_ids(long_mask)[:, from_stem:]
    cache = DynamicCache(config=model.config)
    stem_calls = _record(
        model,
        model.inputs(stem_ids, stem_mask, position_ids(stem_mask)) | {"past_key_values": cache, "use_cache": True},
    )
    past = _pretended_past(cache, stem_calls.stream, len(branch_ids))
    branch_calls = _record(
        model,
        model.inputs(branch_ids, long_mask, positions) | {"past_key_values": past, "use_cache": True},
    )
    lines = stem_of.to(stem_calls.stream.device)
    places = stem_calls.stream.shape[0] * stem_calls.stream.shape[1]

    def call(block: int, stream: Stream) -> Stream:
        slot = fresh_slot(cache, block)
        stem = with_slot(stem_calls, block, stream[:, :places].view_as(stem_calls.stream), slot)
        slot.batch_select_indices(lines)
        branch = with_slot(branch_calls, block, stream[:, places:].view_as(branch_calls.stream), slot)
        return _flat(stem, branch)

    return Pass(_flat(stem_calls.stream, branch_calls.stream), call)


def _flat(*streams: torch.Tensor) -> Float[torch.Tensor, "1 place feature"]:
    return torch.cat([stream.flatten(0, 1) for stream in streams])[None]


def _pretended_past(cache: DynamicCache, stream: Stream, branches: int) -> DynamicCache:
    """Return a cache of the lengths of the stems, without their keys: what the branches' masks are made from."""
    past = copy.deepcopy(cache)
    nothing = stream.new_zeros(branches, 1, stream.shape[1], 1)
    for layer in past.layers:
        layer.update(nothing, nothing)
    return past


def logits(model: Model, states: Float[torch.Tensor, "token feature"]) -> Iterator[Float[torch.Tensor, "_ vocabulary"]]:
    """Apply what follows the last block, final norm and head, to some tokens' last states.

    The model's own forward does it, on sequences of one token whose blocks are passed over, so that whatever a family does
    there (scaling, softcapping) is done. The logits come a few hundred tokens at a time, and are not kept.
    """
    for part in torch.split(states, _HEAD_TOKENS):
        ids = torch.zeros(len(part), 1, dtype=torch.long)
        with tapped(model, lambda calls, part=part: part[:, None]):  # type: ignore[misc]  # bound at once
            given = model.module(**model.inputs(ids, torch.ones_like(ids))).logits[:, 0]
        yield given
