"""Scoring many schedules on one batch of prompts, over their prefix tree.

The blocks of each distinct beginning run once, the vocabulary head only where a token is scored. Knows prompts and schedules;
knows no task and no file.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float

from layerscope.evaluation.prompt_batches import PromptBatch
from layerscope.execution.interception import Stream
from layerscope.execution.recorded_batch import (
    RecordedBatch,
    logits,
    record_batch,
    record_separately,
    record_with_prefixes,
)
from layerscope.execution.scheduled import run_tree
from layerscope.models.contexts import eval_mode, no_grad
from layerscope.models.model import Model
from layerscope.schedules.tree import Node

__all__ = ["PromptScores", "Visit", "score_batch"]

Visit = Callable[[Node, Stream], None]


@dataclass(frozen=True)
class PromptScores:
    """What a model thinks of the continuations of some prompts, in the order of the layout.

    Attributes
    ----------
    log_likelihood
        In nats, summed over the tokens of each continuation; NaN where a prompt has fewer.
    greedy
        Whether every token of it is the one the model would have chosen.
    """

    log_likelihood: Float[np.ndarray, "prompt continuation"]
    greedy: Bool[np.ndarray, "prompt continuation"]


def score_batch(
    model: Model,
    layout: PromptBatch,
    root: Node,
    finished: Callable[[int, PromptScores, float], None],
    visit: Visit = lambda node, stream: None,
) -> None:
    """Run all schedules of a prefix tree on one batch.

    Parameters
    ----------
    model
        A decoder with a vocabulary head.
    layout
        The batch.
    root
        The tree; see `layerscope.schedules.tree.prefix_tree`.
    finished
        Called as ``finished(schedule, scores, seconds)`` when a schedule of the tree has been run: its number, its scores,
        and the seconds it took beyond those finished before it.
    visit
        Called with each node and its stream, ``[1, place, feature]``, as soon as it has been run.
    """
    clock = time.perf_counter()

    def at(node: Node, stream: Stream) -> None:
        nonlocal clock
        stream = stream.reshape(1, -1, stream.shape[-1])
        visit(node, stream)
        if not node.ends:
            return
        scores = _scores(model, layout, stream)
        for schedule in node.ends:
            now = time.perf_counter()
            finished(schedule, scores, now - clock)
            clock = time.perf_counter()  # what is done with the scores is not the schedule's time

    with eval_mode(model.module), no_grad():
        prepared = _prepared(model, layout)
        run_tree(root, prepared.start, prepared.run_stage, at)


def _prepared(model: Model, layout: PromptBatch) -> RecordedBatch:
    if len(layout.texts) > 1:
        return record_separately(model, layout.texts)
    if layout.branches is not None:
        return record_with_prefixes(model, layout.texts[0], layout.branches, layout.stem_of)
    return record_batch(model, *layout.texts[0])


def _scores(model: Model, layout: PromptBatch, stream: Stream) -> PromptScores:
    # Continuations of one context begin at the same place: its logits are computed once.
    places, which = torch.unique(layout.places, return_inverse=True)
    states = stream[0, places.to(stream.device)]
    shape = (len(layout.prompts), int(layout.continuation.max()) + 1)
    total = torch.full(shape, torch.nan, dtype=torch.float64)
    total[layout.prompt, layout.continuation] = 0.0
    greedy = torch.ones(shape, dtype=torch.bool)
    first = 0
    for part in logits(model, states):
        here = (which >= first) & (which < first + len(part))
        row, target = (which[here] - first).to(part.device), layout.targets[here].to(part.device)
        found = part.float().log_softmax(-1)
        chosen = (found.argmax(-1)[row] == target).cpu()
        where = (layout.prompt[here], layout.continuation[here])
        total.index_put_(where, found[row, target].double().cpu(), accumulate=True)
        greedy[where[0][~chosen], where[1][~chosen]] = False
        first += len(part)
    return PromptScores(total.numpy(), greedy.numpy())
