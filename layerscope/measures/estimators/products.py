"""Estimator of cosines, norms and largest values, from one pass of products of layers.

It is part of every analysis, because the massive-activation report uses it.
"""

from collections.abc import Callable
from functools import partial
from typing import ClassVar

import numpy as np
from torch.nn.functional import pad

from layerscope.measures.accumulators.last_tokens import LastTokens
from layerscope.measures.accumulators.massive_tokens import MassiveTokens
from layerscope.measures.accumulators.pair_sums import PairSums
from layerscope.measures.accumulators.peaks import Peaks
from layerscope.measures.accumulators.row_sample import RowSample
from layerscope.measures.context import AnalysisContext
from layerscope.measures.estimate import Details, Estimate
from layerscope.measures.estimators.cosines import (
    Resampled,
    present_sequences,
    resample,
    sequence_cosines,
    token_cosines,
    whole_sums,
)
from layerscope.measures.estimators.estimator import Estimator
from layerscope.measures.kernels.undefined import Undefined
from layerscope.states import StateRows

__all__ = ["Products"]


class Products(Estimator):
    """Sums for the cosines, block influence, angular distance, norms and the largest values.

    Parameters
    ----------
    context
        The analysis.
    sample
        Sample of rows for the medians of the massive-activation report.
    wanted
        Names of all measures of the analysis.
    """

    def __init__(self, context: AnalysisContext, sample: RowSample, wanted: frozenset[str]) -> None:
        super().__init__(context, sample, wanted)
        self.axes = context.axes
        alone = context.second is None
        self.sums = PairSums(
            len(context.first), None if alone else len(context.other), context.dtype, sequences=context.sequences
        )
        self.width = max(axis.width for axis in self.axes)
        self.peaks = [Peaks(axis) for axis in self.axes]
        self.massive = MassiveTokens(sample)
        self.last = LastTokens(len(context.first), len(context.other)) if "angular_distance" in wanted else None
        # Between two captures there are no products of neighbouring layers: block influence then needs its own sums.
        self.within = [
            PairSums(len(axis), None, context.dtype, sequences=context.sequences, whole=False)
            for axis in self.axes
            if "block_influence" in wanted and not alone
        ]

    @property
    def share_bytes(self) -> int:
        """Number of bytes of the sums."""
        return sum(pairs.nbytes for pairs in (self.sums, *self.within))

    def update(self, rows: StateRows, other: StateRows | None) -> None:
        """Add some rows."""
        sides = [rows] if other is None else [rows, other]
        peaks = [peak.update(side) for peak, side in zip(self.peaks, sides, strict=True)]
        slot, at_start = rows.sequence_index, rows.position == 0
        # Captures of two widths have norms but no cosines, so padding with zeros is safe.
        states = [
            side.hidden
            if side.hidden.shape[2] == self.width
            else pad(side.hidden, (0, self.width - side.hidden.shape[2]))
            for side in sides
        ]
        products = self.sums.update(states[0], states[1] if len(states) > 1 else None, slot, at_start)
        self.massive.update(rows, other, peaks, products)
        if self.last is not None:
            self.last.update(rows, other)
        for pairs, side in zip(self.within, sides, strict=False):
            pairs.update(side.hidden, None, slot, at_start)

    def merge(self, part: "Products") -> None:
        """Add the sums of another accumulator."""
        self.sums.merge(part.sums)
        self.massive.merge(part.massive)
        for peak, part_peak in zip(self.peaks, part.peaks, strict=True):
            peak.merge(part_peak)
        if self.last is not None and part.last is not None:
            self.last.merge(part.last)
        for pairs, part_pairs in zip(self.within, part.within, strict=True):
            pairs.merge(part_pairs)

    def compute(self, name: str, kernel: "Callable[[Products], Estimate]") -> Estimate:
        """Compute a measure from the sums."""
        return kernel(self)

    @property
    def tokens(self) -> int:
        """Number of tokens added."""
        return int(self.sums.sums["tokens"].sum())

    def _cosine(self) -> Estimate:
        total, count = token_cosines(self.sums, self.context)
        value, replicates, resampling = resample(total, count, self.context)
        return Estimate(
            value,
            int(count.sum()),
            "mean over tokens",
            self._zero_states(),
            replicates=replicates,
            resampling=resampling,
        )

    def _sequence(self, *, without_first: bool) -> Estimate:
        taken = self.sums.sums["tokens"].sum(0)
        tokens = int(taken[0] if without_first else taken.sum())
        if not tokens:
            nothing = np.full((len(self.context.first), len(self.context.other)), np.nan)
            return Estimate(nothing, 0, "undefined: there is no token but the first of each sequence")
        whole = whole_sums(self.sums, without_first=without_first)
        ratio, usable = sequence_cosines(whole, self.context, alone=self.sums.alone)
        value, replicates, resampling = resample(ratio, usable, self.context)
        description = "mean over sequences of the cosine of flattened sequences"
        if without_first:
            description += ", position 0 of each left out"
        return Estimate(
            value,
            tokens,
            description,
            {"sequences": int(usable.sum())},
            replicates=replicates,
            resampling=resampling,
        )

    def _angular(self) -> Estimate:
        assert self.last is not None
        angle = self.last.angle[self.last.position >= 0]
        usable = ~np.isnan(angle).any((1, 2))
        if not usable.any():
            raise Undefined("the last token of every sequence is zero in some layer")
        value, replicates, resampling = resample(
            np.nan_to_num(angle) * usable[:, None, None], usable.astype(np.float64), self.context
        )
        sequences = int(usable.sum())
        return Estimate(
            value,
            sequences,
            "mean over sequences of the last token's angle",
            {"sequences": sequences},
            replicates=replicates,
            resampling=resampling,
        )

    def _block_influence(self) -> Estimate:
        results = []
        for axis, pairs in zip(self.axes, self.within or [self.sums], strict=True):
            total, count = token_cosines(pairs, self.context)
            influence = np.full((len(total), len(axis)), np.nan)
            follows = np.flatnonzero(np.diff(axis.layer) == 1) + 1
            influence[:, follows] = count[:, None] - total[:, follows - 1, follows]
            results.append(resample(influence, count, self.context))
        return _per_layer(results, int(count.sum()), "1 - mean cosine with the state before", self._zero_states())

    def _norm(self) -> Estimate:
        present = present_sequences(self.sums)
        count = self.sums.sums["tokens"].sum(1).numpy()[present]
        names = ["norm"] if self.sums.alone else ["norm", "norm_other"]
        results = [resample(self.sums.sums[name].numpy()[present], count, self.context) for name in names]
        return _per_layer(results, self.tokens, "mean over tokens")

    def _max_abs(self) -> Estimate:
        values = [peak.magnitude.max(1) for peak in self.peaks]
        return _per_layer([Resampled(value) for value in values], self.tokens, "maximum over tokens")

    kernels: ClassVar["dict[str, Callable[[Products], Estimate]]"] = {
        "cosine": _cosine,
        "cosine_sequence": partial(_sequence, without_first=False),
        "cosine_sequence_without_first": partial(_sequence, without_first=True),
        "angular_distance": _angular,
        "block_influence": _block_influence,
        "norm": _norm,
        "max_abs": _max_abs,
    }

    def _zero_states(self) -> Details:
        left_out = self.tokens - int(self.sums.sums["count"].sum())
        return {"zero_state_tokens": left_out} if left_out else {}


def _per_layer(results: list[Resampled], tokens: int, description: str, details: Details | None = None) -> Estimate:
    return Estimate.of_layers(
        [result.value for result in results],
        tokens,
        description,
        details,
        replicates=[result.replicates for result in results],
        resampling=results[0].resampling,
    )
