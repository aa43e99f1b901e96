"""Measure drift: the distance between the states of a schedule and of the full model, on the same tokens.

Drift is measured while the prefix tree of the schedules runs, with the full model first. Position 0 of each prompt is excluded,
because it carries massive activations in most models. This module knows streams, not tasks or files.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from layerscope.evaluation.prompt_batches import PromptBatch
from layerscope.measures.kernels.gram import GramSums
from layerscope.models.interception import Stream
from layerscope.schedules.reference_states import reference_states
from layerscope.schedules.schedule import Schedule
from layerscope.schedules.tree import Node, path_to

__all__ = ["DriftMeter", "RunDrift", "VarianceSums"]

_MAX_CKA_TOKENS = 1024

Prompts = Float[np.ndarray, " prompt"]


class VarianceSums(NamedTuple):
    """Sums over tokens that give the variance of a stream.

    Attributes
    ----------
    tokens
        Number of tokens.
    squares
        Sum of all squared values.
    total
        Sum of the states.
    """

    tokens: int
    squares: float
    total: Float[np.ndarray, " feature"]


@dataclass(frozen=True)
class RunDrift:
    """Drift of one schedule on one batch.

    Attributes
    ----------
    cosine, norm
        1 - cos and |h' - h| / |h| at the last state, averaged over the tokens of each prompt; NaN for a prompt without tokens.
    cosine_stage, norm_stage
        The same after each stage, relative to the state of the full model that `reference_states` returns, summed over prompts.
    hsic
        Song's debiased HSIC_1 between the last states of the run and of the full model, and of each with itself.
    """

    cosine: Prompts
    norm: Prompts
    cosine_stage: Float[np.ndarray, " stage"]
    norm_stage: Float[np.ndarray, " stage"]
    hsic: Float[np.ndarray, "3"]


class DriftMeter:
    """Measures the drift of every schedule of a prefix tree while it runs on one batch.

    Parameters
    ----------
    batch
        Prompts.
    root
        Prefix tree.
    schedules
        Its schedules by number; 0 is the full model.
    depth
        Number of blocks T.

    Attributes
    ----------
    sums
        Variance sums of the nodes visited since it was last cleared.
    """

    def __init__(self, batch: PromptBatch, root: Node, schedules: Mapping[int, Schedule], depth: int) -> None:
        self._batch, self._depth = batch, depth
        self._references = {run: reference_states(schedule, depth) for run, schedule in schedules.items()}
        self._paths = {run: path_to(root, schedule) for run, schedule in schedules.items()}
        self._references_at: dict[Node, set[int]] = defaultdict(set)
        for run, references in self._references.items():
            for node, reference in zip(self._paths[run], references, strict=True):
                self._references_at[node].add(reference)
        self._full: list[torch.Tensor] = []
        self._drifts: dict[tuple[Node, int], tuple[Prompts, Prompts]] = {}
        self._last, self._stream = root, torch.empty(0)
        self.sums: dict[Node, VarianceSums] = {}
        counts = torch.bincount(batch.seen_prompt, minlength=len(batch.prompts))
        self._counts = counts.double().numpy()

    def visit(self, node: Node, stream: Stream) -> None:
        """Record the stream of a node; see `layerscope.evaluation.scoring.score_batch`."""
        seen = stream[0, self._batch.seen.to(stream.device)].float()
        if len(self._full) == node.level <= self._depth:
            self._full.append(seen)  # the full model runs first
        self._last, self._stream = node, seen
        if node.level:
            total = seen.sum(0, dtype=torch.float64).cpu().numpy()
            self.sums[node] = VarianceSums(len(seen), float(seen.square().sum(dtype=torch.float64)), total)
            for reference in self._references_at[node]:
                self._drifts[node, reference] = self._drift(seen, reference)

    @property
    def ready(self) -> bool:
        """Whether the full model has run to its end, so that drift from its last state is defined."""
        return len(self._full) > self._depth

    def finished(self, run: int) -> RunDrift:
        """Return the drift of a schedule that ends at the node visited last.

        A schedule that is a beginning of the full model (skip from the first block) ends first: call this when `ready`.
        """
        path, references = self._paths[run], self._references[run]
        end = path[-1]
        states = self._stream if end is self._last else self._full[end.level]
        last = self._drifts.get((end, self._depth)) or self._drift(states, self._depth)
        stages = [self._drifts[node, reference] for node, reference in zip(path, references, strict=True)]
        return RunDrift(
            *last,
            np.array([np.nansum(cosine) for cosine, _ in stages]),
            np.array([np.nansum(norm) for _, norm in stages]),
            self._hsic(states),
        )

    def _drift(self, states: Float[torch.Tensor, "seen feature"], reference: int) -> tuple[Prompts, Prompts]:
        full = self._full[reference]
        if full is states:
            zero = np.where(self._counts > 0, 0.0, np.nan)
            return zero, zero
        full = full.to(states.device)  # of a model that is spread over devices
        length, full_length = states.norm(dim=-1, keepdim=True), full.norm(dim=-1, keepdim=True)
        # Half the squared distance of the unit vectors is 1 - cos, without cancellation when they are nearly equal.
        cosine = (states / length - full / full_length).square().sum(-1) / 2
        norm = (states - full).norm(dim=-1) / full_length[:, 0]
        return self._by_prompt(cosine), self._by_prompt(norm)

    def _by_prompt(self, values: Float[torch.Tensor, " seen"]) -> Prompts:
        total = np.bincount(self._batch.seen_prompt.numpy(), values.double().cpu().numpy(), len(self._counts))
        with np.errstate(invalid="ignore"):
            return np.asarray(total / self._counts)

    def _hsic(self, states: Float[torch.Tensor, "seen feature"]) -> Float[np.ndarray, "3"]:
        step = -(-len(states) // _MAX_CKA_TOKENS) or 1
        run, full = (some[::step].cpu()[:, None] for some in (states, self._full[self._depth]))
        if len(run) < 4:
            return np.full(3, np.nan)
        sums = GramSums(run, full).criterion(np.ones((1, 1)), debiased=True)
        return np.array([sums.cross.item(), sums.own.item(), sums.own_other.item()])
