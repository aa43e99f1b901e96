"""Estimator of the anisotropy: the mean cosine of all pairs of tokens, from one sum of unit vectors."""

from collections.abc import Callable
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float

from layerscope.measures.accumulators.row_sample import RowSample
from layerscope.measures.accumulators.unit_sums import UnitSums
from layerscope.measures.context import AnalysisContext, Axis
from layerscope.measures.estimate import Estimate
from layerscope.measures.estimators.estimator import Estimator
from layerscope.measures.estimators.half_samples import HalfSamples
from layerscope.measures.kernels.anisotropy import anisotropy
from layerscope.measures.kernels.undefined import Undefined
from layerscope.states import StateRows

__all__ = ["Anisotropy"]

_AT_ONCE = 256

_Kernel = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Anisotropy(Estimator):
    """The anisotropy from the sum of unit vectors of each layer; replicates from sums over groups of sequences."""

    kernels: ClassVar[dict[str, _Kernel]] = {"anisotropy": anisotropy}

    def __init__(self, context: AnalysisContext, sample: RowSample, wanted: frozenset[str]) -> None:
        super().__init__(context, sample, wanted)
        self.sums = [UnitSums(1, len(axis), axis.width) for axis in context.axes]
        self.tokens = 0

    @property
    def share_bytes(self) -> int:
        """Number of bytes of the sums."""
        return sum(sums.total.nbytes for sums in self.sums)

    def update(self, rows: StateRows, other: StateRows | None) -> None:
        """Add some rows."""
        self.tokens += len(rows)
        one_group = torch.zeros(len(rows), dtype=torch.int64)
        for sums, side in zip(self.sums, [rows] if other is None else [rows, other], strict=True):
            sums.update(side.hidden, one_group)

    def merge(self, part: "Anisotropy") -> None:
        """Add the sums of another accumulator."""
        self.tokens += part.tokens
        for sums, part_sums in zip(self.sums, part.sums, strict=True):
            sums.merge(part_sums)

    def compute(self, name: str, kernel: _Kernel) -> Estimate:
        """Compute the measure from each layer's sums."""
        values = [
            _defined(axis, kernel(sums.total[0], sums.count[0]))
            for axis, sums in zip(self.context.axes, self.sums, strict=True)
        ]
        halves = HalfSamples(self.context, self.sample) if self.context.options.bootstrap else None
        left_out = self.tokens - int(min(sums.count.min() for sums in self.sums))
        return Estimate.of_layers(
            values,
            self.tokens,
            "mean over pairs of different tokens",
            ({"zero_state_tokens": left_out} if left_out else {}) | (halves.details if halves else {}),
            replicates=[self._replicates(kernel, side, halves) for side in range(len(values))] if halves else [],
            resampling=halves.resampling if halves else None,
        )

    def _replicates(self, kernel: _Kernel, side: int, halves: HalfSamples) -> Float[np.ndarray, "replicate layer"]:
        """Compute the measure of each half from one sum of unit vectors per group."""
        hidden, group = self.sample.hidden(side), torch.from_numpy(halves.group)
        sums = UnitSums(halves.masks.shape[1], *hidden.shape[1:])
        for start in range(0, len(hidden), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            sums.update(hidden[part], group[part])
        masks = torch.from_numpy(halves.masks)
        return kernel(torch.tensordot(masks, sums.total, dims=1), masks @ sums.count).numpy()


def _defined(axis: Axis, values: Float[torch.Tensor, " layer"]) -> Float[np.ndarray, " layer"]:
    undefined = torch.isnan(values).nonzero()
    if len(undefined):
        raise Undefined("all of its tokens, or all but one, are zero", axis.describe(int(undefined[0])))
    return values.numpy()
