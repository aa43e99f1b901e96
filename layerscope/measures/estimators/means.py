"""Estimator of the variance, the lengths of mean states, and the cosines of states about their layers' means.

The first pass computes the means and the variance, the second the centred cosines.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch

from layerscope.measures.accumulators.layer_moments import LayerMoments, SequenceMoments
from layerscope.measures.accumulators.pair_sums import PairSums
from layerscope.measures.accumulators.row_sample import RowSample
from layerscope.measures.context import AnalysisContext
from layerscope.measures.estimate import Details, Estimate, describe_sample
from layerscope.measures.estimators.cosines import resample, token_cosines
from layerscope.measures.estimators.estimator import Estimator
from layerscope.measures.kernels.bootstrap import Resampling, sequence_weights
from layerscope.measures.kernels.centering import centered
from layerscope.states import StateRows

__all__ = ["Means"]


class Means(Estimator):
    """Means and variances in the first pass, centred cosines in the second.

    If the sample contains all tokens, or rows are seen only once, the centred cosines are computed from the sample instead.
    """

    def __init__(self, context: AnalysisContext, sample: RowSample, wanted: frozenset[str]) -> None:
        super().__init__(context, sample, wanted)
        self.axes = context.axes
        self.moments = [LayerMoments.empty(len(axis), axis.width) for axis in self.axes]
        self.sequences = [
            SequenceMoments(len(axis), axis.width, self._weights())
            for axis in self.axes
            if context.options.bootstrap and wanted & {"variance", "magnitude_difference"}
        ]
        self.seen: set[int] = set()
        self.pairs: PairSums | None = None
        self.centre = "cosine_centered" in wanted

    @property
    def share_bytes(self) -> int:
        """Number of bytes of the means or of the sums; 0, so not shared, if replicates are summed."""
        if self.pairs is not None:
            return self.pairs.nbytes
        return 0 if self.sequences else sum(moments.mean.nbytes for moments in self.moments)

    def update(self, rows: StateRows, other: StateRows | None) -> None:
        """Add some rows: to the moments in the first pass, to the products in the second."""
        sides = [rows] if other is None else [rows, other]
        if self.pairs is not None:
            self._multiply([side.hidden for side in sides], rows.sequence_index, rows.position == 0)
            return
        for moments, side in zip(self.moments, sides, strict=True):
            moments.merge(LayerMoments.of(side.hidden))
        for sequences, side in zip(self.sequences, sides, strict=False):
            sequences.update(side.hidden, rows.sequence_index)
        self.seen.update(np.unique(rows.sequence_index).tolist())

    def merge(self, part: "Means") -> None:
        """Add the sums of another accumulator in this pass."""
        if self.pairs is not None and part.pairs is not None:
            self.pairs.merge(part.pairs)
            return
        for moments, part_moments in zip(self.moments, part.moments, strict=True):
            moments.merge(part_moments)
        for sequences, part_sequences in zip(self.sequences, part.sequences, strict=True):
            sequences.merge(part_sequences)
        self.seen |= part.seen

    def empty_like(self, sample: RowSample) -> "Means":
        """Return an empty accumulator of the same pass, with the same centre."""
        part = Means(self.context, sample, self.wanted)
        if self.pairs is not None:
            part.moments = self.moments
            part.pairs = self.pairs.empty_like()
        return part

    def end_pass(self) -> bool:
        """Fix the centre after the first pass; return whether a second is needed, because the sample is not complete."""
        if not self.centre or self.pairs is not None:
            return False
        second = None if self.context.second is None else len(self.context.second)
        self.pairs = PairSums(
            len(self.context.first), second, self.context.dtype, sequences=self.context.sequences, whole=False
        )
        if not self.sample.complete and self.context.rows is not None:
            return True
        sequence = self.sample.sequence_index
        for start in range(0, len(sequence), 128):
            part = slice(start, start + 128)
            states = [self.sample.hidden(side)[part] for side in range(len(self.axes))]
            self._multiply(states, sequence[part], np.zeros(len(sequence[part]), bool))
        return False

    def compute(self, name: str, kernel: "Callable[[Means], Estimate]") -> Estimate:
        """Compute a measure from the sums."""
        return kernel(self)

    @property
    def tokens(self) -> int:
        """Number of tokens added."""
        return self.moments[0].count

    def _variance(self) -> Estimate:
        values: list[np.ndarray] = [moments.variance() for moments in self.moments]
        replicates = [sequences.variances(*self._drawn()) for sequences in self.sequences]
        return Estimate.of_layers(
            values,
            self.tokens,
            "mean over features of the variance over tokens (ddof 0)",
            replicates=replicates,
            resampling=self._resampling(),
        )

    def _magnitude_difference(self) -> Estimate:
        lengths = [moments.mean.norm(dim=1).numpy() for moments in self.moments]
        replicates = [sequences.mean_lengths(*self._drawn()) for sequences in self.sequences]
        return Estimate(
            abs(lengths[0][:, None] - lengths[-1]),
            self.tokens,
            "difference of the lengths of means over tokens",
            replicates=abs(replicates[0][:, :, None] - replicates[-1][:, None]) if replicates else None,
            resampling=self._resampling(),
        )

    def _centered_cosine(self) -> Estimate:
        assert self.pairs is not None
        total, count = token_cosines(self.pairs, self.context)
        value, replicates, resampling = resample(total, count, self.context)
        tokens = int(count.sum())
        details: Details = {} if tokens == self.tokens else {"zero_state_tokens": self.tokens - tokens}
        description = "mean over tokens, about the layers' means over all tokens"
        if self.context.rows is None and not self.sample.complete:
            where, details = describe_sample(tokens, self.sample.seen, self.context.options.seed)
            description += f", of {where}"
        if resampling is not None:
            resampling = replace(resampling, note="the centre stays the mean of the full sample")
        return Estimate(value, tokens, description, details, replicates=replicates, resampling=resampling)

    kernels: ClassVar["dict[str, Callable[[Means], Estimate]]"] = {
        "variance": _variance,
        "magnitude_difference": _magnitude_difference,
        "cosine_centered": _centered_cosine,
    }

    def _resampling(self) -> Resampling | None:
        return Resampling(len(self.seen)) if self.context.options.bootstrap else None

    def _drawn(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the sequences that have tokens, and the number of times each replicate draws them."""
        present = np.array(sorted(self.seen), np.int64)
        return present, sequence_weights(len(present), self.context.options.bootstrap, self.context.options.seed)

    def _multiply(self, states: list[torch.Tensor], slot: np.ndarray, at_start: np.ndarray) -> None:
        assert self.pairs is not None
        about = [centered(hidden, moments.mean) for hidden, moments in zip(states, self.moments, strict=True)]
        self.pairs.update(about[0], about[1] if len(about) > 1 else None, slot, at_start)

    def _weights(self) -> torch.Tensor | None:
        """Draw the replicates before the first pass if they are fewer than the sequences: their sums then need less memory."""
        context = self.context
        if context.rows is None or not 0 < context.options.bootstrap < context.sequences:
            return None
        return torch.from_numpy(sequence_weights(context.sequences, context.options.bootstrap, context.options.seed))
