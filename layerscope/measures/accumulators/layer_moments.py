"""Means and squared deviations of every layer, merged by the formula of Chan, Golub and LeVeque."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from layerscope.measures.kernels.lengths import squared_lengths

__all__ = ["LayerMoments", "SequenceMoments"]


@dataclass
class LayerMoments:
    """The count, each feature's mean, and each layer's squared deviations summed over tokens and features.

    Attributes
    ----------
    count
        Number of tokens.
    mean
        Mean over tokens, float64.
    squared
        Sum over tokens and features of the squared deviation from the mean, float64.
    """

    count: int
    mean: Float[torch.Tensor, "layer feature"]
    squared: Float[torch.Tensor, " layer"]

    @classmethod
    def empty(cls, layers: int, width: int) -> "LayerMoments":
        """Return the moments of no tokens."""
        return cls(0, torch.zeros(layers, width, dtype=torch.float64), torch.zeros(layers, dtype=torch.float64))

    @classmethod
    def of(cls, hidden: Float[torch.Tensor, "token layer feature"]) -> "LayerMoments":
        """Compute the moments of some tokens about their own mean."""
        coarse = hidden.mean(0)
        deviation = hidden - coarse
        rest = deviation.sum(0).double()
        squares = squared_lengths(deviation).sum(0)
        return cls(len(hidden), coarse.double() + rest / len(hidden), squares - rest.square().sum(-1) / len(hidden))

    def merge(self, part: "LayerMoments") -> None:
        """Add the tokens of another accumulator."""
        if not part.count:
            return
        total = self.count + part.count
        shift = part.mean - self.mean
        self.squared += part.squared + shift.square().sum(-1) * (self.count * part.count / total)
        self.mean += shift * (part.count / total)
        self.count = total

    def variance(self) -> Float[np.ndarray, " layer"]:
        """Compute the mean over features of the variance over tokens (ddof 0)."""
        return (self.squared.clamp(min=0) / self.count / self.mean.shape[1]).numpy()


class SequenceMoments:
    """Sums per sequence that give the variance under any weighting of the sequences, for bootstrap replicates.

    With d the deviation from a fixed reference, a weighting w of the sequences has the variance
    ``(sum w q - |sum w s|^2 / sum w n) / sum w n``, where n, s and q are each sequence's count, sum of d and sum of |d|^2.
    Each vector s has the size of a token's states. If there are fewer replicates than sequences, s is therefore summed
    directly for each replicate.

    Parameters
    ----------
    layers, width
        The shape of a token's states.
    weights
        ``[replicate, sequence]`` to sum directly for each replicate; None to keep sums for each sequence.
    """

    def __init__(
        self, layers: int, width: int, weights: Float[torch.Tensor, "replicate sequence"] | None = None
    ) -> None:
        self.weights = weights
        self.reference: Float[torch.Tensor, "layer feature"] | None = None
        rows = 1 if weights is None else len(weights)
        self.count = torch.zeros(rows, dtype=torch.float64)
        self.deviation = torch.zeros(rows, layers, width, dtype=torch.float64)
        self.squares = torch.zeros(rows, layers, dtype=torch.float64)

    def update(self, hidden: Float[torch.Tensor, "token layer feature"], slot: Int[np.ndarray, " token"]) -> None:
        """Add some tokens of the sequences numbered by `slot`."""
        if not len(slot):
            return
        if self.reference is None:
            # A median, because a massive token would shift a mean far from all other tokens.
            self.reference = hidden.median(0).values.double()
        present, local = np.unique(slot, return_inverse=True)
        index = torch.from_numpy(local.astype(np.int64))
        deviation = hidden - self.reference.to(hidden.dtype)
        sums = torch.zeros(len(present), *hidden.shape[1:], dtype=hidden.dtype).index_add_(0, index, deviation)
        squares = torch.zeros(len(present), hidden.shape[1], dtype=torch.float64)
        squares.index_add_(0, index, squared_lengths(deviation))
        count = torch.from_numpy(np.bincount(local, minlength=len(present)).astype(np.float64))
        self._add(torch.from_numpy(present), count, sums.double(), squares)

    def merge(self, part: "SequenceMoments") -> None:
        """Add the tokens of another accumulator, after conversion to the reference of this one."""
        if part.reference is None:
            return
        if self.reference is None:
            self.reference = part.reference.clone()
        shift = part.reference - self.reference
        count = part.count[:, None]
        squares = part.squares + 2 * torch.einsum("rlf,lf->rl", part.deviation, shift) + count * shift.square().sum(-1)
        deviation = part.deviation + count[:, :, None] * shift
        rows = len(part.count)
        self._grow(rows)
        self.count[:rows] += part.count
        self.deviation[:rows] += deviation
        self.squares[:rows] += squares

    def variances(
        self, present: Int[np.ndarray, " sequence"], weights: Float[np.ndarray, "replicate sequence"]
    ) -> Float[np.ndarray, "replicate layer"]:
        """Compute each replicate's variance, as `LayerMoments.variance`.

        Parameters
        ----------
        present
            Numbers of the sequences that have tokens, one for each column of `weights`. Both are used only if the sums are
            kept for each sequence.
        """
        count, deviation, squares = self._weighted(present, weights)
        between = deviation.square().sum(-1) / count[:, None]
        return ((squares - between).clamp(min=0) / count[:, None] / self.deviation.shape[-1]).numpy()

    def mean_lengths(
        self, present: Int[np.ndarray, " sequence"], weights: Float[np.ndarray, "replicate sequence"]
    ) -> Float[np.ndarray, "replicate layer"]:
        """Compute the length of each replicate's mean over tokens; for the parameters see `variances`."""
        assert self.reference is not None
        count, deviation, _ = self._weighted(present, weights)
        lengths: np.ndarray = torch.linalg.vector_norm(
            self.reference + deviation / count[:, None, None], dim=-1
        ).numpy()
        return lengths

    def _weighted(
        self, present: Int[np.ndarray, " sequence"], weights: Float[np.ndarray, "replicate sequence"]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the counts, deviations and squares of each replicate, summed here unless `update` did."""
        if self.weights is not None:
            return self.count, self.deviation, self.squares
        mixing, rows = torch.from_numpy(weights), torch.from_numpy(present)
        deviation = torch.tensordot(mixing, self.deviation[rows], dims=1)
        return mixing @ self.count[rows], deviation, mixing @ self.squares[rows]

    def _add(
        self,
        present: Int[torch.Tensor, " sequence"],
        count: Float[torch.Tensor, " sequence"],
        deviation: Float[torch.Tensor, "sequence layer feature"],
        squares: Float[torch.Tensor, "sequence layer"],
    ) -> None:
        if self.weights is None:
            self._grow(int(present.max()) + 1)
            self.count.index_add_(0, present, count)
            self.deviation.index_add_(0, present, deviation)
            self.squares.index_add_(0, present, squares)
            return
        mixing = self.weights[:, present]
        self.count += mixing @ count
        self.deviation += torch.tensordot(mixing, deviation, dims=1)
        self.squares += mixing @ squares

    def _grow(self, rows: int) -> None:
        if self.weights is not None or rows <= len(self.count):
            return
        more = max(rows, 2 * len(self.count)) - len(self.count)
        self.count = torch.cat([self.count, self.count.new_zeros(more)])
        self.deviation = torch.cat([self.deviation, self.deviation.new_zeros(more, *self.deviation.shape[1:])])
        self.squares = torch.cat([self.squares, self.squares.new_zeros(more, self.squares.shape[1])])
