"""The Hilbert-Schmidt independence criterion (HSIC) of pairs of layers, from sums over their Gram or kernel matrices."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

__all__ = ["Criterion", "GramTotals", "biased_hsic", "debiased_hsic"]


class Criterion(NamedTuple):
    """The criterion of all pairs of layers, and of each layer with itself, for each selection of groups of tokens."""

    cross: Float[np.ndarray, "selection layer layer_other"]
    own: Float[np.ndarray, "selection layer"]
    own_other: Float[np.ndarray, "selection layer_other"]

    def normalized(self) -> Float[np.ndarray, "selection layer layer_other"]:
        """Divide the criterion of each pair by the geometric mean of the two layers' own criteria, which gives CKA."""
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio: np.ndarray = self.cross / np.sqrt(self.own[:, :, None] * self.own_other[:, None, :])
        return ratio


class GramTotals(NamedTuple):
    r"""Three totals of the Gram matrices K and L, each for all pairs of layers, the first layers, and the second layers.

    Attributes
    ----------
    traces
        $\mathrm{tr}(KL)$.
    inner
        Inner product of the row sums of K and of L.
    outer
        Product of the sum of all entries of K and that of L.
    """

    traces: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
    inner: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
    outer: tuple[torch.Tensor, torch.Tensor, torch.Tensor]

    @classmethod
    def of(cls, traces: list[torch.Tensor], sums: list[Float[torch.Tensor, "_layer row"]]) -> "GramTotals":
        """Compute the totals from the traces and from the row sums of one or two captures."""
        left, right = sums[0], sums[-1]
        inner = (left @ right.T, left.square().sum(-1), right.square().sum(-1))
        totals = (left.sum(-1), right.sum(-1))
        outer = (totals[0][:, None] * totals[1], totals[0].square(), totals[1].square())
        return cls((traces[0], traces[1], traces[2]), inner, outer)


def biased_hsic(totals: GramTotals, count: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    r"""Compute $\mathrm{tr}(KHLH)$ with H the centring matrix of `count` tokens."""
    values = [t - 2 / count * i + o / count**2 for t, i, o in zip(*totals, strict=True)]
    return values[0], values[1], values[2]


def debiased_hsic(totals: GramTotals, count: float, epsilon: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Compute HSIC_1 of Song et al. 2012 (eq. 5), from totals without the diagonals of K and L.

    A layer's own criterion is 0 if it is below 100 times the rounding error at machine precision `epsilon`: all tokens are
    then equally similar.
    """
    cross, *own = (
        (t + o / ((count - 1) * (count - 2)) - 2 / (count - 2) * i) / (count * (count - 3))
        for t, i, o in zip(*totals, strict=True)
    )
    noise = 100 * epsilon / (count * (count - 3))
    first, second = (
        values.where(values > noise * trace, 0.0) for values, trace in zip(own, totals.traces[1:], strict=True)
    )
    return cross, first, second
