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

from layerscope.evaluation.layout import Layout
from layerscope.execution.taps import Stream
from layerscope.measures.gram import GramSums
from layerscope.schedules.alignment import reference_states
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

    def __init__(self, layout: Layout, root: Node, schedules: Mapping[int, Schedule], depth: int) -> None:
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
                self._path[-1][reference] = self._against(reference)

    def finished(self, run: int) -> RunDrift:
        """Return the drift of the schedule whose last node was visited just now."""
        last = self._path[-1].get(self._depth) or self._against(self._depth)
        stages = [self._path[level + 1][reference] for level, reference in enumerate(self._references[run])]
        return RunDrift(
            *last,
            np.array([np.nansum(cosine) for cosine, _ in stages]),
            np.array([np.nansum(norm) for _, norm in stages]),
            self._criterion(),
        )

    def _against(self, reference: int) -> tuple[Prompts, Prompts]:
        full, seen = self._full[reference], self._stream
        if full is seen:
            nothing = np.where(self._counts > 0, 0.0, np.nan)
            return nothing, nothing
        length, full_length = seen.norm(dim=-1, keepdim=True), full.norm(dim=-1, keepdim=True)
        # Half the squared distance of the directions is 1 - cos, without its cancellation where they nearly agree.
        cosine = (seen / length - full / full_length).square().sum(-1) / 2
        norm = (seen - full).norm(dim=-1) / full_length[:, 0]
        return self._by_prompt(cosine), self._by_prompt(norm)

    def _by_prompt(self, values: Float[torch.Tensor, " seen"]) -> Prompts:
        total = np.bincount(self._layout.seen_prompt.numpy(), values.double().cpu().numpy(), len(self._counts))
        with np.errstate(invalid="ignore"):
            return np.asarray(total / self._counts)

    def _criterion(self) -> Float[np.ndarray, "3"]:
        step = -(-len(self._stream) // _MOST_CKA_TOKENS) or 1
        run, full = (states[::step].cpu()[:, None] for states in (self._stream, self._full[self._depth]))
        if len(run) < 4:
            return np.full(3, np.nan)
        found = GramSums(run, full).criterion(np.ones((1, 1)), debiased=True)
        return np.array([found.cross.item(), found.own.item(), found.own_other.item()])
