"""How alike the directions of a layer's tokens are: the mean cosine of all pairs of them, from one sum of unit vectors.

This module knows rows and sums; it knows no labels and no files.
"""

import numpy as np
import torch
from jaxtyping import Float

from layerscope.errors import MeasureError
from layerscope.measures.accumulators.row_sample import RowSample
from layerscope.measures.context import AnalysisContext, Axis, Estimate
from layerscope.measures.estimators.estimator import Estimator
from layerscope.measures.estimators.half_samples import HalfSamples
from layerscope.states import StateRows

__all__ = ["Anisotropy", "UnitSums", "anisotropy"]

_AT_ONCE = 256


def anisotropy(total: Float[torch.Tensor, "*layer feature"], count: Float[torch.Tensor, "*layer"]) -> torch.Tensor:
    r"""Compute the mean cosine of two different tokens, $(|\sum_t u_t|^2-n)/(n(n-1))$ with $u_t=x_t/|x_t|$.

    Parameters
    ----------
    total
        The sum of the unit vectors.
    count
        Of how many tokens; NaN comes out for fewer than two.

    Examples
    --------
    >>> float(anisotropy(torch.tensor([1.0, 2.0]).double(), torch.tensor(3.0).double()))  # two tokens alike, one across
    0.3333333333333333
    """
    found: torch.Tensor = (total.square().sum(-1) - count) / (count * (count - 1)).where(count > 1, torch.nan)
    return found


class UnitSums:
    """Sums of the unit vectors of tokens, by groups of tokens; a token of zeros has no direction and is not counted.

    Parameters
    ----------
    groups, layers, width
        How many groups there are, and the shape of a token's states.
    """

    def __init__(self, groups: int, layers: int, width: int) -> None:
        self.total = torch.zeros(groups, layers, width, dtype=torch.float64)
        self.count = torch.zeros(groups, layers, dtype=torch.float64)

    def update(self, hidden: Float[torch.Tensor, "token layer feature"], group: torch.Tensor) -> None:
        """Add some tokens, each to its group."""
        length = torch.linalg.vector_norm(hidden, dim=-1, dtype=torch.float64)
        unit = hidden * length.reciprocal().where(length > 0, 0).to(hidden.dtype)[:, :, None]
        self.total.index_add_(0, group, unit.double())
        self.count.index_add_(0, group, (length > 0).double())

    def merge(self, part: "UnitSums") -> None:
        """Add another's sums."""
        self.total += part.total
        self.count += part.count


class Anisotropy(Estimator):
    """The sum of unit vectors of each layer; for replicates, those of groups of sequences of the rows held."""

    def __init__(self, context: AnalysisContext, sample: RowSample, wanted: frozenset[str]) -> None:
        super().__init__(context, sample, wanted)
        self.sums = [UnitSums(1, len(axis), axis.width) for axis in context.axes]
        self.tokens = 0

    @property
    def share_bytes(self) -> int:
        """The bytes of the sums."""
        return sum(sums.total.nbytes for sums in self.sums)

    def update(self, rows: StateRows, other: StateRows | None) -> None:
        """Take some rows."""
        self.tokens += len(rows)
        together = torch.zeros(len(rows), dtype=torch.int64)
        for sums, side in zip(self.sums, [rows] if other is None else [rows, other], strict=True):
            sums.update(side.hidden, together)

    def merge(self, part: "Anisotropy") -> None:
        """Add another's sums."""
        self.tokens += part.tokens
        for sums, part_sums in zip(self.sums, part.sums, strict=True):
            sums.merge(part_sums)

    def estimate(self, name: str) -> Estimate:
        """Compute the anisotropy."""
        values = [
            _defined(axis, anisotropy(sums.total[0], sums.count[0]))
            for axis, sums in zip(self.context.axes, self.sums, strict=True)
        ]
        halves = HalfSamples(self.context, self.sample) if self.context.bootstrap else None
        left_out = self.tokens - int(min(sums.count.min() for sums in self.sums))
        return Estimate.of_layers(
            values,
            self.tokens,
            "mean over pairs of different tokens",
            ({"zero_state_tokens": left_out} if left_out else {}) | (halves.chosen if halves else {}),
            replicates=[self._replicates(side, halves) for side in range(len(values))] if halves else [],
            resampling=halves.resampling if halves else None,
        )

    def _replicates(self, side: int, halves: HalfSamples) -> Float[np.ndarray, "replicate layer"]:
        """Compute the measure of each half, from one sum of unit vectors a group."""
        hidden, group = self.sample.hidden(side), torch.from_numpy(halves.group)
        sums = UnitSums(halves.masks.shape[1], *hidden.shape[1:])
        for start in range(0, len(hidden), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            sums.update(hidden[part], group[part])
        masks = torch.from_numpy(halves.masks)
        return anisotropy(torch.tensordot(masks, sums.total, dims=1), masks @ sums.count).numpy()


def _defined(axis: Axis, values: Float[torch.Tensor, " layer"]) -> Float[np.ndarray, " layer"]:
    undefined = torch.isnan(values).nonzero()
    if len(undefined):
        raise MeasureError(
            f"{axis.describe(int(undefined[0]))}: anisotropy has no meaning where all tokens but one at most are zero; "
            "leave the measure or the layer out"
        )
    return values.numpy()
