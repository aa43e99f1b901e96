"""Estimator of debiased CKA: from all tokens at once up to 4,096, from random minibatches above."""

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch

from layerscope.measures.accumulators.row_sample import RowSample
from layerscope.measures.context import EXACT_TOKENS, AnalysisContext
from layerscope.measures.estimate import Details, Estimate, describe_sample
from layerscope.measures.estimators.estimator import Estimator
from layerscope.measures.kernels.bootstrap import Resampling, deal_groups, half_masks
from layerscope.measures.kernels.gram import GramSums
from layerscope.measures.kernels.hsic import Criterion
from layerscope.measures.kernels.undefined import Undefined
from layerscope.states import StateRows

__all__ = ["DebiasedCka"]

MINIBATCH = 1024


class DebiasedCka(Estimator):
    """CKA from the debiased criterion of minibatches: the mean numerator over the roots of the mean denominators.

    Up to 4,096 tokens there is one batch, the sample, which contains all tokens. Above, the tokens are permuted with the seed
    and split into batches of about 1,024; each pass over the file collects as many batches as fit into half the memory. If
    rows are seen only once, the sample is the only batch.

    Parameters
    ----------
    context
        The analysis.
    sample
        The sample of rows.
    wanted
        Not used: there is only one measure.
    """

    kernels: ClassVar[dict[str, Callable[[Criterion], np.ndarray]]] = {"cka": Criterion.normalized}
    needs_exact_sample = True

    def __init__(self, context: AnalysisContext, sample: RowSample, wanted: frozenset[str]) -> None:
        super().__init__(context, sample, wanted)
        self.criteria: list[Criterion] = []
        self._buffers: list[torch.Tensor] = []
        self.batch_sizes: list[int] = []
        self.minibatches = context.rows is not None and len(context.rows) > EXACT_TOKENS
        if self.minibatches:
            self._deal()

    def update(self, rows: StateRows, other: StateRows | None) -> None:
        """Copy the rows that belong to the batches of this pass."""
        if not self.minibatches:
            return
        place = self._place[np.searchsorted(self._rows, rows.row)] - self._first
        here = np.flatnonzero((place >= 0) & (place < len(self._filled)))
        target, chosen = torch.from_numpy(place[here]), torch.from_numpy(here)
        self._filled[place[here]] = True
        self._sequence[place[here]] = rows.sequence_index[here]
        for buffer, part in zip(self._buffers, [rows] if other is None else [rows, other], strict=True):
            buffer[target] = part.hidden[chosen]

    def merge(self, part: "DebiasedCka") -> None:
        """Copy the rows that another accumulator has collected in this pass."""
        if not self.minibatches:
            return
        filled = np.flatnonzero(part._filled)
        self._filled[filled] = True
        self._sequence[filled] = part._sequence[filled]
        for buffer, held in zip(self._buffers, part._buffers, strict=True):
            buffer[torch.from_numpy(filled)] = held[torch.from_numpy(filled)]

    def empty_like(self, sample: RowSample) -> "DebiasedCka":
        """Return an empty accumulator that collects the same batches."""
        part = DebiasedCka(self.context, sample, self.wanted)
        if self.minibatches:
            part._turn = self._turn
            part._begin()
        return part

    def end_pass(self) -> bool:
        """Compute the criterion of the collected batches; return whether other batches remain."""
        if not self.minibatches:
            sides = range(1 if self.context.second is None else 2)
            self._compute([self.sample.hidden(side) for side in sides], self.sample.sequence_index)
            return False
        assert self._filled.all()
        start = 0
        for batch in self._batches[self._turn : self._turn + self._at_once]:
            part = slice(start, start + len(batch))
            self._compute([buffer[part] for buffer in self._buffers], self._sequence[part])
            start += len(batch)
        self._turn += self._at_once
        if self._turn < len(self._batches):
            self._begin()
            return True
        self._buffers = []
        return False

    def compute(self, name: str, kernel: Callable[[Criterion], np.ndarray]) -> Estimate:
        """Normalise the mean criterion of the batches."""
        mean = self._mean()
        self._require_defined(mean)
        values = kernel(mean)
        tokens = sum(self.batch_sizes)
        details: Details = {"batch_size": max(self.batch_sizes), "batches": len(self.batch_sizes)}
        description = "HSIC_1 of Song et al. 2012 (eq. 5), on all tokens at once"
        if self.minibatches:
            details["batch_seed"] = self.context.options.seed
            description = (
                "HSIC_1 of Song et al. 2012 (eq. 5), numerator and denominators averaged over minibatches of a seeded "
                "permutation of the tokens, divided once"
            )
        elif not self.sample.complete:
            details |= describe_sample(tokens, self.sample.seen, self.context.options.seed)[1]
            description += " of a seeded sample"
        estimate = Estimate(values[0], tokens, description, details)
        if not self.context.options.bootstrap:
            return estimate
        return replace(estimate, replicates=values[1:], resampling=Resampling(self._groups, halves=True))

    def _mean(self) -> Criterion:
        """Average over batches; a half-sample with fewer than four tokens in a batch is left out there."""
        stacked = [np.stack([getattr(part, name) for part in self.criteria]) for name in Criterion._fields]
        undefined = np.isnan(stacked[0]).any((2, 3)).all(0)
        if undefined.any():
            raise Undefined(
                "half of the sequences hold fewer than 4 tokens, too few for an interval",
                remedy="capture more texts, or leave --bootstrap out",
            )
        return Criterion(*(np.nanmean(values, axis=0) for values in stacked))

    def _deal(self) -> None:
        assert self.context.rows is not None
        self._rows = self.context.rows
        order = np.random.default_rng(self.context.options.seed).permutation(len(self._rows))
        self._batches = np.array_split(order, len(self._rows) // MINIBATCH)
        self._place = np.empty(len(order), np.int64)
        self._place[order] = np.arange(len(order))
        self._turn = 0
        self._at_once = max(
            1, int(self.context.options.memory // 2 // (self.context.row_bytes * len(self._batches[0])))
        )
        self._begin()

    def _begin(self) -> None:
        """Allocate the batches of the next pass."""
        first = sum(len(batch) for batch in self._batches[: self._turn])
        rows = sum(len(batch) for batch in self._batches[self._turn : self._turn + self._at_once])
        self._first = first
        self._filled = np.zeros(rows, bool)
        self._sequence = np.zeros(rows, np.int64)
        self._buffers = [
            torch.empty(rows, len(axis), axis.width, dtype=self.context.dtype) for axis in self.context.axes
        ]

    def _compute(self, states: list[torch.Tensor], sequence: np.ndarray) -> None:
        """Add one batch: the criterion of all its tokens, then of each half-sample."""
        group, self._groups = (
            self._dealt(sequence) if self.context.options.bootstrap else (np.zeros(len(sequence), np.int64), 1)
        )
        sums = GramSums(states[0], states[1] if len(states) > 1 else None, group, self._groups)
        masks = np.ones((1, self._groups))
        if self.context.options.bootstrap:
            masks = np.concatenate(
                [masks, half_masks(self._groups, self.context.options.bootstrap, self.context.options.seed)]
            )
        self.criteria.append(sums.criterion(masks, debiased=True))
        self.batch_sizes.append(len(sequence))

    def _dealt(self, sequence: np.ndarray) -> tuple[np.ndarray, int]:
        if not self.minibatches:
            return deal_groups(sequence, self.context.options.seed)
        groups, number = deal_groups(np.arange(self.context.sequences), self.context.options.seed)
        return groups[sequence], number

    def _require_defined(self, mean: Criterion) -> None:
        for axis, own in ((self.context.first, mean.own[0]), (self.context.other, mean.own_other[0])):
            for index in np.flatnonzero(~(own > 0)).tolist():
                raise Undefined(
                    "its tokens are all equally alike (the debiased similarity with itself is zero)",
                    axis.describe(index),
                )
