"""Score many schedules on one batch of prompts, over their prefix tree.

Each common beginning runs once, and the vocabulary head only where a token is scored. This module knows prompts and schedules,
not tasks or files.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float

from layerscope.evaluation.prompt_batches import PromptBatch
from layerscope.execution.fusion import FusedBatch, run_tree_fused
from layerscope.execution.recorded_batch import (
    RecordedBatch,
    logits,
    record_batch,
    record_separately,
    record_with_prefixes,
)
from layerscope.execution.scheduled import run_tree
from layerscope.models.eval_mode import eval_mode, no_grad
from layerscope.models.interception import Stream
from layerscope.models.model import Model
from layerscope.schedules.tree import Node

__all__ = ["PromptScores", "Visit", "score_batch"]

Visit = Callable[[Node, Stream], None]


@dataclass(frozen=True)
class PromptScores:
    """Log-likelihoods of the continuations of a batch of prompts, in the order of the batch.

    Attributes
    ----------
    log_likelihood
        In nats, summed over the tokens of each continuation; NaN where a prompt has fewer.
    greedy
        Whether each of its tokens is the model's first choice.
    """

    log_likelihood: Float[np.ndarray, "prompt continuation"]
    greedy: Bool[np.ndarray, "prompt continuation"]


def score_batch(
    model: Model,
    batch: PromptBatch,
    root: Node,
    finished: Callable[[int, PromptScores, float], None],
    visit: Visit = lambda node, stream: None,
    fuse: int = 1,
) -> None:
    """Score one batch under all schedules of a prefix tree.

    Parameters
    ----------
    model
        A decoder with a vocabulary head.
    batch
        Prompts to run.
    root
        Prefix tree; see `layerscope.schedules.tree.prefix_tree`.
    finished
        Called as ``finished(schedule, scores, seconds)`` after each schedule: its number, its scores, and the seconds since the
        previous schedule finished.
    visit
        Called with each node and its stream, ``[1, place, feature]``, once the node has run.
    fuse
        Number of schedules whose next stages, where they are the same, run as one larger batch.
    """
    clock = time.perf_counter()

    def at(node: Node, stream: Stream) -> None:
        nonlocal clock
        stream = stream.reshape(1, -1, stream.shape[-1])
        visit(node, stream)
        if not node.ends:
            return
        scores = _scores(model, batch, stream)
        for schedule in node.ends:
            now = time.perf_counter()
            finished(schedule, scores, now - clock)
            clock = time.perf_counter()  # exclude the time of the callback

    with eval_mode(model.module), no_grad():
        if fuse == 1:
            prepared = _prepared(model, batch)
            run_tree(root, prepared.start, prepared.run_stage, at)
        else:
            fused = FusedBatch(lambda copies: _prepared(model, batch.copies(copies)), batch.parts)
            run_tree_fused(root, fused.start, fused.run_stage, at, fuse)


def _prepared(model: Model, batch: PromptBatch) -> RecordedBatch:
    if len(batch.texts) > 1:
        return record_separately(model, batch.texts)
    if batch.branches is not None:
        return record_with_prefixes(model, batch.texts[0], batch.branches, batch.prefix_of)
    return record_batch(model, *batch.texts[0])


def _scores(model: Model, batch: PromptBatch, stream: Stream) -> PromptScores:
    # Continuations of one context start at the same place, whose logits are computed once.
    places, which = torch.unique(batch.places, return_inverse=True)
    states = stream[0, places.to(stream.device)]
    shape = (len(batch.prompts), int(batch.continuation.max()) + 1)
    total = torch.full(shape, torch.nan, dtype=torch.float64)
    total[batch.prompt, batch.continuation] = 0.0
    greedy = torch.ones(shape, dtype=torch.bool)
    first = 0
    for part in logits(model, states):
        here = (which >= first) & (which < first + len(part))
        row, target = (which[here] - first).to(part.device), batch.targets[here].to(part.device)
        log_probabilities = part.float().log_softmax(-1)
        first_choice = (log_probabilities.argmax(-1)[row] == target).cpu()
        where = (batch.prompt[here], batch.continuation[here])
        total.index_put_(where, log_probabilities[row, target].double().cpu(), accumulate=True)
        greedy[where[0][~first_choice], where[1][~first_choice]] = False
        first += len(part)
    return PromptScores(total.numpy(), greedy.numpy())
