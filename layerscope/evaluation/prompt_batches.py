"""Prompts laid out for one run of a model: which ids, which places are scored, which tokens drift is measured on.

Prompts with one continuation are whole sequences. Where prompts have several, their contexts are run once as stems, and what
follows branches off; where the model computes a longer text differently, each continuation is a sequence of its own. In all
cases the streams are seen as one long line of places. Knows no model.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int, Int64

from layerscope.evaluation.prompts import Prompt
from layerscope.models.length_dependence import INDEPENDENT, LengthDependence
from layerscope.texts.batches import pad_batch, plan_batches

__all__ = ["PromptBatch", "build_batch", "plan"]

Padded = tuple[Int64[torch.Tensor, "_ _"], Int64[torch.Tensor, "_ _"]]
"""Ids and mask, line by position."""

_WORTH_A_CALL = (
    128  # tokens: what a block call costs besides its tokens is some 40 of them, and fewer rows multiply slower
)


@dataclass(frozen=True)
class PromptBatch:
    """One batch of prompts.

    Attributes
    ----------
    prompts
        The number of each prompt in it.
    texts
        The sequences, or the contexts that others branch off; more than one where they must not share a batch.
    branches
        Ids and mask of what branches off; None without.
    stem_of
        Which context each branch goes on from.
    places
        Where the stream stands that predicts each scored token, in the long line of places.
    targets
        The tokens to be predicted.
    prompt, continuation
        Of which prompt (its number in `prompts`) and which of its continuations each scored token is part.
    seen
        The places of the tokens on which drift is measured: each prompt's context and right continuation, position 0 left out.
    seen_prompt
        Of which prompt each of them is.
    """

    prompts: tuple[int, ...]
    texts: tuple[Padded, ...]
    branches: Padded | None
    stem_of: Int64[torch.Tensor, " branch"]
    places: Int64[torch.Tensor, " target"]
    targets: Int64[torch.Tensor, " target"]
    prompt: Int64[torch.Tensor, " target"]
    continuation: Int64[torch.Tensor, " target"]
    seen: Int64[torch.Tensor, " seen"]
    seen_prompt: Int64[torch.Tensor, " seen"]


def plan(
    prompts: Sequence[Prompt], batch_tokens: int, dependence: LengthDependence = INDEPENDENT
) -> Iterator[tuple[int, ...]]:
    """Put prompts of one kind (whole sequences, or stems with branches) and like length into batches under a budget.

    Every schedule runs every batch, so whole sequences are parted further where that spares more padding than it costs.
    Only prompts that may share a batch by `dependence` do. A prompt whose context cannot be shared is a batch by itself.
    """
    kinds = [_kind(prompt, dependence) for prompt in prompts]
    for kind in ("whole", "forked"):
        numbers = np.array([number for number, its in enumerate(kinds) if its == kind], np.int64)
        lengths = np.array([prompts[number].tokens for number in numbers], np.int64)
        longest = np.array([prompts[number].longest for number in numbers], np.int64)
        for batch in plan_batches(lengths, batch_tokens, groups=dependence.groups(longest)):
            for part in [batch] if kind == "forked" else _parted(batch, lengths):
                yield tuple(numbers[part].tolist())
    yield from ((number,) for number, kind in enumerate(kinds) if kind == "apart")


def _kind(prompt: Prompt, dependence: LengthDependence) -> Literal["whole", "forked", "apart"]:
    if len(prompt.continuations) == 1:
        return "whole"
    shared = not dependence.alone and dependence.steady(len(prompt.context), prompt.longest)
    return "forked" if shared else "apart"


def _parted(
    batch: Int[np.ndarray, " batch"], lengths: Int[np.ndarray, " sequence"]
) -> Iterator[Int[np.ndarray, " part"]]:
    """Cut a batch, longest first, where that spares most padding, as often as it is worth another call of each block."""
    longest = lengths[batch[0]]
    spared = (longest - lengths[batch]) * np.arange(len(batch), 0, -1)
    cut = int(spared.argmax())
    if spared[cut] < _WORTH_A_CALL:
        yield batch
    else:
        yield from _parted(batch[:cut], lengths)
        yield from _parted(batch[cut:], lengths)


def build_batch(
    prompts: Sequence[Prompt],
    gold: Sequence[int],
    batch: tuple[int, ...],
    pad_id: int,
    dependence: LengthDependence = INDEPENDENT,
) -> PromptBatch:
    """Lay out the prompts of one batch.

    Parameters
    ----------
    prompts, gold
        All prompts, and which continuation of each is right.
    batch
        The numbers of those to lay out, as `plan` groups them.
    pad_id
        Fills padded places.
    dependence
        That of `plan`.

    Examples
    --------
    >>> layout = build_batch([Prompt((5, 6), ((7, 8),)), Prompt((5,), ((9,),))], [0, 0], (0, 1), pad_id=0)
    >>> layout.texts[0][0].tolist(), layout.places.tolist(), layout.targets.tolist(), layout.seen.tolist()
    ([[5, 6, 7], [5, 0, 0]], [1, 2, 3], [7, 8, 9], [1, 2])
    """
    chosen, right = [prompts[number] for number in batch], [gold[number] for number in batch]
    kind = _kind(chosen[0], dependence)
    return _forked(batch, chosen, right, pad_id) if kind == "forked" else _whole(batch, chosen, right, pad_id, kind)


def _whole(
    batch: tuple[int, ...],
    prompts: Sequence[Prompt],
    gold: Sequence[int],
    pad_id: int,
    kind: Literal["whole", "apart"],
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


def _forked(batch: tuple[int, ...], prompts: Sequence[Prompt], gold: Sequence[int], pad_id: int) -> PromptBatch:
    stems = pad_batch([np.array(prompt.context) for prompt in prompts], pad_id, "left")
    width = stems[0].shape[1]
    longer = [
        (line, number, continuation)
        for line, prompt in enumerate(prompts)
        for number, continuation in enumerate(prompt.continuations)
        if len(continuation) > 1  # the only token of a shorter one is predicted by the stem
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
    stem_of = torch.tensor([line for line, *_ in longer], dtype=torch.long)
    return PromptBatch(batch, (stems,), branches, stem_of, *_columns(scored, 4), *_columns(seen, 2))


def _columns(rows: list[tuple[int, ...]], columns: int) -> tuple[torch.Tensor, ...]:
    return tuple(torch.tensor(rows, dtype=torch.long).reshape(-1, columns).T)
