"""Estimator of the size and direction of block updates, and of what attention and MLP add to the residual stream."""

from collections.abc import Callable
from typing import ClassVar

import numpy as np
import torch

from layerscope.measures.accumulators.block_means import BlockMeans
from layerscope.measures.accumulators.row_sample import RowSample
from layerscope.measures.context import AnalysisContext
from layerscope.measures.estimate import Details, Estimate
from layerscope.measures.estimators.cosines import Resampled, resample
from layerscope.measures.estimators.estimator import Estimator
from layerscope.measures.kernels.contributions import addition_cosines, addition_ratios
from layerscope.measures.kernels.undefined import Undefined
from layerscope.states import StateRows

__all__ = ["Contributions"]

_Kernel = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Contributions(Estimator):
    """Means over tokens of the ratio and the cosine of each addition with the state that enters the block."""

    def __init__(self, context: AnalysisContext, sample: RowSample, wanted: frozenset[str]) -> None:
        super().__init__(context, sample, wanted)
        self.blocks = [axis.blocks for axis in context.axes]
        self.names = [name for name in self.kernels if name in wanted]
        self.means = [{name: BlockMeans(len(blocks)) for name in self.names} for blocks in self.blocks]

    def update(self, rows: StateRows, other: StateRows | None) -> None:
        """Add some rows."""
        sequence = torch.from_numpy(rows.sequence_index)
        for side, axis, means in zip((rows, other), self.context.axes, self.means, strict=False):
            if side is None:
                continue
            before = torch.from_numpy(np.flatnonzero(np.isin(axis.layer, axis.blocks)))
            after = torch.from_numpy(np.flatnonzero(np.isin(axis.layer - 1, axis.blocks)))
            stream = side.hidden[:, before]
            for name in self.names:
                what, kernel = self.kernels[name]
                added = side.hidden[:, after] - stream if what == "update" else getattr(side, f"{what}_out")
                means[name].update(kernel(added, stream), sequence)

    def merge(self, part: "Contributions") -> None:
        """Add the sums of another accumulator."""
        for means, others in zip(self.means, part.means, strict=True):
            for name, mean in means.items():
                mean.merge(others[name])

    def compute(self, name: str, kernel: tuple[str, _Kernel]) -> Estimate:
        """Compute a measure from the sums."""
        results = [self._resampled(means[name]) for means in self.means]
        counts = [means[name].count.sum(0) for means in self.means]
        tokens = max(int(count.max()) for count in counts)
        fewest = min(int(count.min()) for count in counts)
        details: Details = {"fewest_tokens": fewest} if fewest < tokens else {}
        return Estimate.of_layers(
            [result.value for result in results],
            tokens,
            "mean over tokens",
            details,
            replicates=[result.replicates for result in results],
            resampling=results[0].resampling,
        )

    def _resampled(self, mean: BlockMeans) -> Resampled:
        """Return the mean of each block, which may leave out tokens that another block has."""
        present = (mean.count.sum(1) > 0).numpy()
        total, count = mean.total.numpy()[present], mean.count.numpy()[present]
        if not count.sum(0).all():
            raise Undefined("a state or an addition is zero in every token", f"block {int(count.sum(0).argmin())}")
        each = [resample(total[:, block : block + 1], count[:, block], self.context) for block in range(total.shape[1])]
        replicates = [one.replicates for one in each if one.replicates is not None]
        return Resampled(
            np.concatenate([one.value for one in each]),
            np.concatenate(replicates, axis=1) if replicates else None,
            each[0].resampling,
        )

    kernels: ClassVar[dict[str, tuple[str, _Kernel]]] = {
        f"{what}_{ending}": (what, kernel)
        for what in ("attn", "mlp", "update")
        for ending, kernel in (("ratio", addition_ratios), ("cosine", addition_cosines))
    }
