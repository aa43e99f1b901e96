"""Massive activations: the tokens with the few very large values that dominate a flattened cosine, and their products.

A value is massive if it is at least 100 and at least 1,000 times its layer's median absolute value (the criterion of Sun et
al. 2024, arXiv 2402.17762).
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from layerscope.measures.accumulators.pair_sums import TokenProducts
from layerscope.measures.accumulators.row_sample import RowSample
from layerscope.states import StateRows
from layerscope.threads import thread_pool

__all__ = ["LEAST_MAGNITUDE", "LEAST_RATIO", "Candidates", "MassiveTokens", "median_magnitude"]

LEAST_MAGNITUDE = 100.0
LEAST_RATIO = 1000.0
LEAST_PROBE = 4096
"""The median of a chunk is estimated only if it has at least this number of values in each layer."""
MOST_CANDIDATES = 4096
"""Number of candidates in memory above which those that cannot be massive are dropped."""


def median_magnitude(hidden: Float[torch.Tensor, "token layer feature"]) -> Float[np.ndarray, " layer"]:
    """Compute each layer's median absolute value (the mean of the two middle ones for an even number).

    Examples
    --------
    >>> median_magnitude(torch.tensor([[[1.0, -2.0]], [[-4.0, 3.0]]]))
    array([2.5])
    """
    medians = thread_pool().map(lambda layer: _median(np.abs(layer.numpy()).ravel()), hidden.unbind(1))
    return np.array(medians, np.float64)


def _median(values: Float[np.ndarray, " value"]) -> float:
    """Compute the median with one partition, which is several times faster than `numpy.median`."""
    middle = len(values) // 2
    halves = np.partition(values, middle)
    upper = float(halves[middle])
    return upper if len(values) % 2 else (float(halves[:middle].max()) + upper) / 2


@dataclass
class Candidates:
    """Tokens with a value of at least 100, and their products."""

    row: Int[np.ndarray, " token"]
    slot: Int[np.ndarray, " token"]
    position: Int[np.ndarray, " token"]
    magnitude: Float[torch.Tensor, "token layers"]
    dots: Float[torch.Tensor, "token layer layer_other"]
    squares: Float[torch.Tensor, "token layer"]
    squares_other: Float[torch.Tensor, "token layer_other"]

    def __len__(self) -> int:
        return len(self.row)

    @classmethod
    def join(cls, parts: list["Candidates"]) -> "Candidates":
        """Concatenate several sets of candidates."""
        return cls(
            np.concatenate([part.row for part in parts]),
            np.concatenate([part.slot for part in parts]),
            np.concatenate([part.position for part in parts]),
            torch.cat([part.magnitude for part in parts]),
            torch.cat([part.dots for part in parts]),
            torch.cat([part.squares for part in parts]),
            torch.cat([part.squares_other for part in parts]),
        )

    def select(self, keep: Bool[np.ndarray, " token"]) -> "Candidates":
        """Return the candidates where the boolean array is true."""
        kept = torch.from_numpy(np.flatnonzero(keep))
        return Candidates(
            self.row[keep],
            self.slot[keep],
            self.position[keep],
            self.magnitude[kept],
            self.dots[kept],
            self.squares[kept],
            self.squares_other[kept],
        )


class MassiveTokens:
    """The tokens that carry a massive value in some layer, of either capture, with their products.

    The medians, and so the massive values, are known only at the end. Until then, a token is a candidate if it has a value of
    at least 100 and at least 250 times its layer's median in some chunk. If there are many candidates, those below 500 times
    are dropped.

    Parameters
    ----------
    sample
        Sample of rows that gives the medians at the end.
    """

    def __init__(self, sample: RowSample) -> None:
        self.sample = sample
        self._parts: list[Candidates] = []
        self._held = 0
        self._prune_at = MOST_CANDIDATES
        self._large, self._next_probe = 0, 1
        self._lowest = [np.full(len(axis), np.inf) for axis in sample.context.axes]

    def update(
        self,
        rows: StateRows,
        other: StateRows | None,
        peaks: list[Float[np.ndarray, "_layer _feature"]],
        products: TokenProducts,
    ) -> None:
        """Keep the candidates among some rows, from the rows' peaks and products."""
        sides = [rows.hidden] if other is None else [rows.hidden, other.hidden]
        self._probe(sides)
        high = np.zeros(len(rows), bool)
        for hidden, peak, line in zip(sides, peaks, self._lines(), strict=True):
            layer, feature = np.nonzero(peak >= line[:, None])
            high |= (np.abs(hidden.numpy()[:, layer, feature]) >= line[layer]).any(1)
        if high.any():
            chosen = torch.from_numpy(np.flatnonzero(high))
            self._append(
                Candidates(
                    rows.row[high],
                    rows.sequence_index[high],
                    rows.position[high],
                    torch.cat([hidden[chosen].abs().amax(-1) for hidden in sides], dim=1),
                    products.dots[chosen],
                    products.squares[chosen],
                    products.squares_other[chosen],
                )
            )

    def merge(self, part: "MassiveTokens") -> None:
        """Add the candidates of another accumulator."""
        for piece in part._parts:
            self._append(piece)

    def medians(self) -> Float[np.ndarray, " layers"]:
        """Return the median absolute value of each layer of the first capture, then of the second."""
        sides = 1 if self.sample.context.second is None else 2
        return np.concatenate([median_magnitude(self.sample.for_medians(side)) for side in range(sides)])

    def find(self, medians: Float[np.ndarray, " layers"], ratio: float = LEAST_RATIO) -> Candidates | None:
        """Return the tokens with a value of at least `ratio` times its layer's median; None if there are none."""
        if not self._parts:
            return None
        line = torch.from_numpy(np.maximum(ratio * medians, LEAST_MAGNITUDE))
        parts = [part.select((part.magnitude.double() >= line).any(1).numpy()) for part in self._parts]
        massive = [part for part in parts if len(part)]
        return Candidates.join(massive) if massive else None

    def _probe(self, sides: list[Float[torch.Tensor, "token _layer _feature"]]) -> None:
        """Compute the medians of large chunks 1, 8, 64, … and keep the lowest, so that one unusual chunk loses no token."""
        if min(side.shape[0] * side.shape[2] for side in sides) < LEAST_PROBE:
            return
        self._large += 1
        if self._large == self._next_probe:
            self._next_probe *= 8
            some = [side[:: max(1, side.shape[0] * side.shape[2] // (4 * LEAST_PROBE))] for side in sides]
            self._lowest = [
                np.minimum(lowest, median_magnitude(part)) for lowest, part in zip(self._lowest, some, strict=True)
            ]

    def _lines(self) -> list[Float[np.ndarray, " _layer"]]:
        """Return for each layer the lowest magnitude of a value that may be massive."""
        known = [np.where(np.isfinite(lowest), lowest, 0) for lowest in self._lowest]
        return [np.maximum(LEAST_RATIO / 4 * lowest, LEAST_MAGNITUDE) for lowest in known]

    def _append(self, part: Candidates) -> None:
        self._parts.append(part)
        self._held += len(part)
        if self._held > self._prune_at and self._large:
            kept = self.find(np.concatenate(self._lowest), LEAST_RATIO / 2)
            self._parts = [] if kept is None else [kept]
            self._held = 0 if kept is None else len(kept)
            self._prune_at = max(MOST_CANDIDATES, 2 * self._held)
