"""Build batches of prompts: the token ids to run, the positions to score, and the tokens to measure drift on.

A prompt with one continuation is a whole sequence. The context of a prompt with several continuations runs once as a prefix, and
the continuations branch off. If the model computes a longer text differently, each continuation is a separate sequence. In all
cases the streams are numbered as one long line of places. This module imports no model.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int, Int64

from layerscope.evaluation.prompts import Prompt
from layerscope.models.length_dependence import INDEPENDENT, LengthDependence
from layerscope.texts.batches import pad_batch, plan_batches

__all__ = ["PromptBatch", "build_batch", "plan_prompt_batches"]

Padded = tuple[Int64[torch.Tensor, "_ _"], Int64[torch.Tensor, "_ _"]]
"""Ids and mask, ``[line, position]``."""

_MIN_SAVED_TOKENS = 128  # a block call costs about as much as 40 tokens, and fewer rows multiply more slowly


@dataclass(frozen=True)
class PromptBatch:
    """One batch of prompts, ready to run.

    Attributes
    ----------
    prompts
        Number of each prompt.
    texts
        Sequences, or contexts from which continuations branch off; several when they must not share a batch.
    branches
        Ids and mask of the continuations that branch off; None without.
    prefix_of
        Context of each branch.
    places
        Place of the stream that predicts each scored token.
    targets
        Tokens to predict.
    prompt, continuation
        Prompt (its index in `prompts`) and continuation to which each scored token belongs.
    seen
        Places of the tokens to measure drift on: context and right continuation of each prompt, without position 0.
    seen_prompt
        Prompt of each of these tokens.
    """

    prompts: tuple[int, ...]
    texts: tuple[Padded, ...]
    branches: Padded | None
    prefix_of: Int64[torch.Tensor, " branch"]
    places: Int64[torch.Tensor, " target"]
    targets: Int64[torch.Tensor, " target"]
    prompt: Int64[torch.Tensor, " target"]
    continuation: Int64[torch.Tensor, " target"]
    seen: Int64[torch.Tensor, " seen"]
    seen_prompt: Int64[torch.Tensor, " seen"]

    @property
    def parts(self) -> list[int]:
        """Places of each text, then of the branches."""
        padded = self.texts if self.branches is None else (*self.texts, self.branches)
        return [ids.numel() for ids, _ in padded]

    def copies(self, count: int) -> "PromptBatch":
        """Return the batch with each text, and the branches, several times; places and targets stay those of one copy."""
        contexts = len(self.texts[0][0])
        return replace(
            self,
            texts=tuple(_repeated(text, count) for text in self.texts),
            branches=None if self.branches is None else _repeated(self.branches, count),
            prefix_of=torch.cat([self.prefix_of + copy * contexts for copy in range(count)]),
        )


def _repeated(padded: Padded, count: int) -> Padded:
    ids, mask = padded
    return ids.repeat(count, 1), mask.repeat(count, 1)


def plan_prompt_batches(
    prompts: Sequence[Prompt], batch_tokens: int, dependence: LengthDependence = INDEPENDENT
) -> Iterator[tuple[int, ...]]:
    """Yield batches of prompts of one kind (sequences, or prefixes with branches) and similar length, within a token budget.

    Every schedule runs every batch, so whole sequences are split further where that saves more padding than a call costs. Prompts
    share a batch only if `dependence` allows it. A prompt whose context cannot be shared is a batch of one.
    """
    kinds = [_kind(prompt, dependence) for prompt in prompts]
    for kind in ("whole", "branched"):
        numbers = np.array([number for number, its in enumerate(kinds) if its == kind], np.int64)
        lengths = np.array([prompts[number].tokens for number in numbers], np.int64)
        longest = np.array([prompts[number].longest for number in numbers], np.int64)
        for batch in plan_batches(lengths, batch_tokens, groups=dependence.groups(longest)):
            for part in [batch] if kind == "branched" else _split(batch, lengths):
                yield tuple(numbers[part].tolist())
    yield from ((number,) for number, kind in enumerate(kinds) if kind == "separate")


def _kind(prompt: Prompt, dependence: LengthDependence) -> Literal["whole", "branched", "separate"]:
    if len(prompt.continuations) == 1:
        return "whole"
    apart = dependence.alone or dependence.whole
    shared = not apart and dependence.steady(len(prompt.context), prompt.longest)
    return "branched" if shared else "separate"


def _split(
    batch: Int[np.ndarray, " batch"], lengths: Int[np.ndarray, " sequence"]
) -> Iterator[Int[np.ndarray, " part"]]:
    """Split a batch, longest first, where it saves most padding, while the saving exceeds the cost of another call."""
    longest = lengths[batch[0]]
    saved = (longest - lengths[batch]) * np.arange(len(batch), 0, -1)
    cut = int(saved.argmax())
    if saved[cut] < _MIN_SAVED_TOKENS:
        yield batch
    else:
        yield from _split(batch[:cut], lengths)
        yield from _split(batch[cut:], lengths)


def build_batch(
    prompts: Sequence[Prompt],
    gold: Sequence[int],
    batch: tuple[int, ...],
    pad_id: int,
    dependence: LengthDependence = INDEPENDENT,
) -> PromptBatch:
    """Return one batch of prompts, ready to run.

    Parameters
    ----------
    prompts, gold
        All prompts, and the index of each right continuation.
    batch
        Numbers of the prompts in the batch, as `plan_prompt_batches` yields them.
    pad_id
        Token id of padding.
    dependence
        As in `plan_prompt_batches`.

    Examples
    --------
    >>> batch = build_batch([Prompt((5, 6), ((7, 8),)), Prompt((5,), ((9,),))], [0, 0], (0, 1), pad_id=0)
    >>> batch.texts[0][0].tolist(), batch.places.tolist(), batch.targets.tolist(), batch.seen.tolist()
    ([[5, 6, 7], [5, 0, 0]], [1, 2, 3], [7, 8, 9], [1, 2])
    """
    selected, right = [prompts[number] for number in batch], [gold[number] for number in batch]
    kind = _kind(selected[0], dependence)
    return (
        _branched(batch, selected, right, pad_id)
        if kind == "branched"
        else _whole(batch, selected, right, pad_id, kind)
    )


def _whole(
    batch: tuple[int, ...],
    prompts: Sequence[Prompt],
    gold: Sequence[int],
    pad_id: int,
    kind: Literal["whole", "separate"],
) -> PromptBatch:
    lines = [(line, number) for line, prompt in enumerate(prompts) for number in range(len(prompt.continuations))]
    sequences = [
        np.array([*prompts[line].context, *prompts[line].continuations[number][:-1]]) for line, number in lines
    ]
    runs = [sequences] if kind == "whole" else [[sequence] for sequence in sequences]
    texts = tuple(pad_batch(run, pad_id, "right") for run in runs)
    widths = [ids.shape[1] for ids, _ in texts for _ in ids]
    scored: list[tuple[int, ...]] = []
    seen: list[tuple[int, ...]] = []
    start = 0
    for (line, number), width in zip(lines, widths, strict=True):
        context, continuation = prompts[line].context, prompts[line].continuations[number]
        first = start + len(context) - 1
        scored += [(first + step, token, line, number) for step, token in enumerate(continuation)]
        if number == gold[line]:
            seen += [(place, line) for place in range(start + 1, first + len(continuation))]
        start += width
    return PromptBatch(batch, texts, None, torch.zeros(0, dtype=torch.long), *_columns(scored, 4), *_columns(seen, 2))


def _branched(batch: tuple[int, ...], prompts: Sequence[Prompt], gold: Sequence[int], pad_id: int) -> PromptBatch:
    prefixes = pad_batch([np.array(prompt.context) for prompt in prompts], pad_id, "left")
    width = prefixes[0].shape[1]
    longer = [
        (line, number, continuation)
        for line, prompt in enumerate(prompts)
        for number, continuation in enumerate(prompt.continuations)
        if len(continuation) > 1  # the prefix predicts the only token of a shorter one
    ]
    branches = pad_batch([np.array(c[:-1]) for *_, c in longer], pad_id, "right") if longer else None
    begins = {
        (line, number): len(prompts) * width + branch * (branches[0].shape[1] if branches else 0)
        for branch, (line, number, _) in enumerate(longer)
    }
    scored: list[tuple[int, ...]] = []
    seen: list[tuple[int, ...]] = []
    for line, prompt in enumerate(prompts):
        end = (line + 1) * width
        seen += [(place, line) for place in range(end - len(prompt.context) + 1, end)]
        for number, continuation in enumerate(prompt.continuations):
            begin = begins.get((line, number), 0)
            places = [end - 1, *range(begin, begin + len(continuation) - 1)]
            scored += [(place, token, line, number) for place, token in zip(places, continuation, strict=True)]
            if number == gold[line]:
                seen += [(place, line) for place in places[1:]]
    prefix_of = torch.tensor([line for line, *_ in longer], dtype=torch.long)
    return PromptBatch(batch, (prefixes,), branches, prefix_of, *_columns(scored, 4), *_columns(seen, 2))


def _columns(rows: list[tuple[int, ...]], columns: int) -> tuple[torch.Tensor, ...]:
    return tuple(torch.tensor(rows, dtype=torch.long).reshape(-1, columns).T)
