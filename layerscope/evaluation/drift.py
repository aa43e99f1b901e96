"""How far a schedule takes the stream from where the full model has it, on the same tokens.

Measured while the prefix tree of the schedules is walked, of which the full model is the first. Position 0 of each prompt is
left out: in most models it carries massive activations. Knows streams; knows no task and no file.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from layerscope.evaluation.prompt_batches import PromptBatch
from layerscope.execution.interception import Stream
from layerscope.measures.kernels.gram import GramSums
from layerscope.schedules.reference_states import reference_states
from layerscope.schedules.schedule import Schedule
from layerscope.schedules.tree import Node, path_to

__all__ = ["DriftMeter", "Moments", "RunDrift"]

_MOST_CKA_TOKENS = 1024

Prompts = Float[np.ndarray, " prompt"]


class Moments(NamedTuple):
    """Sums over tokens from which the variance of a stream follows.

    Attributes
    ----------
    tokens
        How many.
    squares
        The sum of all squared values.
    total
        The sum of the states.
    """

    tokens: int
    squares: float
    total: Float[np.ndarray, " feature"]


@dataclass(frozen=True)
class RunDrift:
    """How far one schedule drifts on one batch.

    Attributes
    ----------
    cosine, norm
        1 - cos and |h' - h| / |h| at the last state, averaged over the tokens of each prompt; NaN for a prompt without any.
    cosine_stage, norm_stage
        The same after each stage, held against the full model's state of `reference_states`, summed over prompts.
    criterion
        Song's debiased HSIC_1 between the run's last states and the full model's, and of either with itself.
    """

    cosine: Prompts
    norm: Prompts
    cosine_stage: Float[np.ndarray, " stage"]
    norm_stage: Float[np.ndarray, " stage"]
    criterion: Float[np.ndarray, "3"]


class DriftMeter:
    """Watches a walk over one batch.

    Parameters
    ----------
    layout
        The batch.
    root
        The tree.
    schedules
        Its schedules by their numbers; 0 is the identity.
    depth
        T.

    Attributes
    ----------
    moments
        Of the nodes walked since it was last emptied.
    """

    def __init__(self, layout: PromptBatch, root: Node, schedules: Mapping[int, Schedule], depth: int) -> None:
        self._layout, self._depth = layout, depth
        self._references = {run: reference_states(schedule, depth) for run, schedule in schedules.items()}
        self._wanted: dict[Node, set[int]] = defaultdict(set)
        for run, references in self._references.items():
            for node, reference in zip(path_to(root, schedules[run]), references, strict=True):
                self._wanted[node].add(reference)
        self._full: list[torch.Tensor] = []
        self._path: list[dict[int, tuple[Prompts, Prompts]]] = []
        self._stream = torch.empty(0)
        self.moments: dict[Node, Moments] = {}
        counts = torch.bincount(layout.seen_prompt, minlength=len(layout.prompts))
        self._counts = counts.double().numpy()

    def visit(self, node: Node, stream: Stream) -> None:
        """Take the stream of a node; see `layerscope.evaluation.scoring.score_batch`."""
        seen = stream[0, self._layout.seen.to(stream.device)].float()
        if len(self._full) == node.level <= self._depth:
            self._full.append(seen)  # the walk begins with the full model
        self._stream = seen
        del self._path[node.level :]
        self._path.append({})
        if node.level:
            total = seen.sum(0, dtype=torch.float64).cpu().numpy()
            self.moments[node] = Moments(len(seen), float(seen.square().sum(dtype=torch.float64)), total)
            for reference in self._wanted[node]:
                self._path[-1][reference] = self._against(seen, reference)

    @property
    def ready(self) -> bool:
        """Whether the full model has been run to its end: before that, no drift from its last state is known."""
        return len(self._full) > self._depth

    def finished(self, run: int) -> RunDrift:
        """Return the drift of a schedule that ends at the node visited last.

        A schedule that the full model begins with (skip from the first block on) ends before the full model does: ask for it
        once that has ended.
        """
        references = self._references[run]
        level = len(references)
        states = self._stream if level == len(self._path) - 1 else self._full[level]
        last = self._path[level].get(self._depth) or self._against(states, self._depth)
        stages = [self._path[stage][reference] for stage, reference in enumerate(references, start=1)]
        return RunDrift(
            *last,
            np.array([np.nansum(cosine) for cosine, _ in stages]),
            np.array([np.nansum(norm) for _, norm in stages]),
            self._criterion(states),
        )

    def _against(self, states: Float[torch.Tensor, "seen feature"], reference: int) -> tuple[Prompts, Prompts]:
        full = self._full[reference]
        if full is states:
            nothing = np.where(self._counts > 0, 0.0, np.nan)
            return nothing, nothing
        length, full_length = states.norm(dim=-1, keepdim=True), full.norm(dim=-1, keepdim=True)
        # Half the squared distance of the directions is 1 - cos, without its cancellation where they nearly agree.
        cosine = (states / length - full / full_length).square().sum(-1) / 2
        norm = (states - full).norm(dim=-1) / full_length[:, 0]
        return self._by_prompt(cosine), self._by_prompt(norm)

    def _by_prompt(self, values: Float[torch.Tensor, " seen"]) -> Prompts:
        total = np.bincount(self._layout.seen_prompt.numpy(), values.double().cpu().numpy(), len(self._counts))
        with np.errstate(invalid="ignore"):
            return np.asarray(total / self._counts)

    def _criterion(self, states: Float[torch.Tensor, "seen feature"]) -> Float[np.ndarray, "3"]:
        step = -(-len(states) // _MOST_CKA_TOKENS) or 1
        run, full = (some[::step].cpu()[:, None] for some in (states, self._full[self._depth]))
        if len(run) < 4:
            return np.full(3, np.nan)
        found = GramSums(run, full).criterion(np.ones((1, 1)), debiased=True)
        return np.array([found.cross.item(), found.own.item(), found.own_other.item()])
