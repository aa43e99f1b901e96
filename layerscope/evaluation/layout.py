"""Prompts laid out for one run of a model: which ids, which places are scored, which tokens drift is measured on.

Prompts with one continuation are whole sequences. Where prompts have several, their contexts are run once as stems, and what
follows branches off. Either way the streams are seen as one long line of places. Knows no model.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int, Int64

from layerscope.evaluation.prompts import Prompt
from layerscope.texts.batches import pad_batch, plan_batches

__all__ = ["Layout", "lay_out", "plan"]

_WORTH_A_CALL = (
    128  # tokens: what a block call costs besides its tokens is some 40 of them, and fewer rows multiply slower
)


@dataclass(frozen=True)
class Layout:
    """One batch of prompts.

    Attributes
    ----------
    prompts
        The number of each prompt in it.
    stems
        Ids and mask of the sequences, or of the contexts that others branch off.
    branches
        Ids and mask of what branches off; None without.
    stem_of
        Which stem each branch goes on from.
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
    stems: tuple[Int64[torch.Tensor, "line position"], Int64[torch.Tensor, "line position"]]
    branches: tuple[Int64[torch.Tensor, "branch more"], Int64[torch.Tensor, "branch more"]] | None
    stem_of: Int64[torch.Tensor, " branch"]
    places: Int64[torch.Tensor, " target"]
    targets: Int64[torch.Tensor, " target"]
    prompt: Int64[torch.Tensor, " target"]
    continuation: Int64[torch.Tensor, " target"]
    seen: Int64[torch.Tensor, " seen"]
    seen_prompt: Int64[torch.Tensor, " seen"]


def plan(prompts: Sequence[Prompt], batch_tokens: int) -> Iterator[tuple[int, ...]]:
    """Put prompts of one kind (whole sequences, or stems with branches) and like length into batches under a budget.

    Every schedule runs every batch, so whole sequences are parted further where that spares more padding than it costs.
    """
    for forked in (False, True):
        numbers = np.array(
            [number for number, prompt in enumerate(prompts) if (len(prompt.continuations) > 1) == forked], np.int64
        )
        lengths = np.array([prompts[number].tokens for number in numbers], np.int64)
        for batch in plan_batches(lengths, batch_tokens):
            for part in [batch] if forked else _parted(batch, lengths):
                yield tuple(numbers[part].tolist())


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


def lay_out(prompts: Sequence[Prompt], gold: Sequence[int], batch: tuple[int, ...], pad_id: int) -> Layout:
    """Lay out the prompts of one batch.

    Parameters
    ----------
    prompts, gold
        All prompts, and which continuation of each is right.
    batch
        The numbers of those to lay out; all of one kind.
    pad_id
        Fills padded places.

    Examples
    --------
    >>> layout = lay_out([Prompt((5, 6), ((7, 8),)), Prompt((5,), ((9,),))], [0, 0], (0, 1), pad_id=0)
    >>> layout.stems[0].tolist(), layout.places.tolist(), layout.targets.tolist(), layout.seen.tolist()
    ([[5, 6, 7], [5, 0, 0]], [1, 2, 3], [7, 8, 9], [1, 2])
    """
    chosen = [prompts[number] for number in batch]
    if any(len(prompt.continuations) > 1 for prompt in chosen):
        return _forked(batch, chosen, [gold[number] for number in batch], pad_id)
    return _whole(batch, chosen, pad_id)


def _whole(batch: tuple[int, ...], prompts: Sequence[Prompt], pad_id: int) -> Layout:
    stems = pad_batch(
        [np.array([*prompt.context, *prompt.continuations[0][:-1]]) for prompt in prompts], pad_id, "right"
    )
    width = stems[0].shape[1]
    scored: list[tuple[int, ...]] = []
    seen: list[tuple[int, ...]] = []
    for line, prompt in enumerate(prompts):
        first = line * width + len(prompt.context) - 1
        scored += [(first + step, token, line, 0) for step, token in enumerate(prompt.continuations[0])]
        seen += [(line * width + position, line) for position in range(1, prompt.tokens)]
    return Layout(batch, stems, None, torch.zeros(0, dtype=torch.long), *_columns(scored, 4), *_columns(seen, 2))


def _forked(batch: tuple[int, ...], prompts: Sequence[Prompt], gold: Sequence[int], pad_id: int) -> Layout:
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
    return Layout(batch, stems, branches, stem_of, *_columns(scored, 4), *_columns(seen, 2))


def _columns(rows: list[tuple[int, ...]], columns: int) -> tuple[torch.Tensor, ...]:
    return tuple(torch.tensor(rows, dtype=torch.long).reshape(-1, columns).T)
