"""Massive activations: the few enormous values that own a flattened cosine, and what it is without them.

A value is called massive when it is at least 100 and at least 1,000 times its layer's median absolute value (the criterion
of Sun et al. 2024, arXiv 2402.17762). This module knows rows and products; it knows no labels and no files.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from layerscope.errors import MeasureError
from layerscope.measures.pair_sums import TokenProducts
from layerscope.measures.row_sample import RowSample
from layerscope.measures.study import Axis
from layerscope.states import StateRows

__all__ = ["LEAST_MAGNITUDE", "LEAST_RATIO", "RANKS", "Candidates", "MassiveTokens", "Peaks", "median_magnitude"]

LEAST_MAGNITUDE = 100.0
LEAST_RATIO = 1000.0
RANKS = 16
"""How many entries the table has at most."""


def median_magnitude(hidden: Float[torch.Tensor, "token layer feature"]) -> Float[np.ndarray, " layer"]:
    """Compute each layer's median absolute value (the mean of the two middle ones for an even number).

    Examples
    --------
    >>> median_magnitude(torch.tensor([[[1.0, -2.0]], [[-4.0, 3.0]]]))
    array([2.5])
    """
    layers = hidden.shape[1]
    return np.array([_median(hidden[:, layer].abs().flatten()) for layer in range(layers)], dtype=np.float64)


def _median(magnitude: Float[torch.Tensor, " value"]) -> float:
    """Find the median exactly: bracket it with a sample, then sort only what lies inside the bracket."""
    size = len(magnitude)
    if size == 0:
        return float("nan")
    low, high = -float("inf"), float("inf")
    if size > 1 << 16:
        few = magnitude[:: size >> 14].sort().values
        margin = len(few) // 32
        low, high = few[len(few) // 2 - margin].item(), few[len(few) // 2 + margin].item()
    below = int((magnitude < low).sum())
    inside = magnitude[(magnitude >= low) & (magnitude <= high)].sort().values
    first, second = (size - 1) // 2 - below, size // 2 - below
    if first < 0 or second >= len(inside):  # the sample misled: sort everything
        inside, first, second = magnitude.sort().values, (size - 1) // 2, size // 2
    return (inside[first].item() + inside[second].item()) / 2


class Peaks:
    """The largest absolute value of every layer and feature, and the token that carries it.

    Where it stands is kept for the 16 largest features of each layer only; among tokens of equal value the one of the lowest
    row counts.

    Parameters
    ----------
    axis
        The layers looked at.
    """

    def __init__(self, axis: Axis) -> None:
        self.axis = axis
        shape = (len(axis), axis.width)
        self.magnitude = torch.zeros(shape, dtype=torch.float64)
        self.value = torch.zeros(shape, dtype=torch.float64)
        self.high = torch.full(shape, -float("inf"), dtype=torch.float64)
        self.low = torch.full(shape, float("inf"), dtype=torch.float64)
        self.row, self.position, self.token_id = (torch.full(shape, -1, dtype=torch.int64) for _ in range(3))

    def update(self, rows: StateRows) -> Float[torch.Tensor, "layer feature"]:
        """Take some rows; return their own largest absolute values."""
        high, low = rows.hidden.amax(0), rows.hidden.amin(0)
        chunk = torch.maximum(high, -low)
        if not chunk.isfinite().all():
            self._refuse(rows)
        hot = (chunk > 0) & (chunk >= self.magnitude) & (chunk >= self._floor()[:, None])
        layer, feature = hot.nonzero(as_tuple=True)
        if len(layer):
            column = rows.hidden[:, layer, feature]
            ties = column.abs() == chunk[layer, feature]
            row = torch.from_numpy(rows.row)[:, None].where(ties, torch.iinfo(torch.int64).max)
            lowest = row.argmin(0)
            best = column.gather(0, lowest[None])[0].double()
            where = lowest.numpy()
            found = (
                best,
                *(torch.from_numpy(a[where].astype(np.int64)) for a in (rows.row, rows.position, rows.token_id)),
            )
            self._raise(layer, feature, *found)
        torch.maximum(self.magnitude, chunk.double(), out=self.magnitude)
        self._widen(high.double(), low.double())
        return chunk

    def constant(self) -> list[int]:
        """Return the indices of the layers that are the same for every token."""
        return torch.nonzero((self.high <= self.low).all(1)).flatten().tolist()

    def merge(self, part: "Peaks") -> None:
        """Take another's peaks where they are higher."""
        layer, feature = (part.row >= 0).nonzero(as_tuple=True)
        at = (layer, feature)
        self._raise(*at, part.value[at], part.row[at], part.position[at], part.token_id[at])
        torch.maximum(self.magnitude, part.magnitude, out=self.magnitude)
        self._widen(part.high, part.low)

    def _widen(self, high: Float[torch.Tensor, "layer feature"], low: Float[torch.Tensor, "layer feature"]) -> None:
        torch.maximum(self.high, high, out=self.high)
        torch.minimum(self.low, low, out=self.low)

    def _raise(
        self,
        layer: Int[torch.Tensor, " entry"],
        feature: Int[torch.Tensor, " entry"],
        value: Float[torch.Tensor, " entry"],
        row: Int[torch.Tensor, " entry"],
        position: Int[torch.Tensor, " entry"],
        token_id: Int[torch.Tensor, " entry"],
    ) -> None:
        held, held_row = self.magnitude[layer, feature], self.row[layer, feature]
        higher = (value.abs() > held) | ((value.abs() == held) & ((held_row < 0) | (row < held_row)))
        at = (layer[higher], feature[higher])
        self.magnitude[at] = value[higher].abs()
        self.value[at], self.row[at] = value[higher], row[higher]
        self.position[at], self.token_id[at] = position[higher], token_id[higher]

    def _floor(self) -> Float[torch.Tensor, " layer"]:
        """Return each layer's 16th largest peak: what stays below can never enter the table."""
        return self.magnitude.topk(min(RANKS, self.axis.width), dim=1).values[:, -1]

    def _refuse(self, rows: StateRows) -> None:
        token, layer, _ = (~rows.hidden.isfinite()).nonzero()[0].tolist()
        raise MeasureError(
            f"{self.axis.describe(layer)}, row {rows.row[token]} (sequence {rows.sequence_index[token]}, position "
            f"{rows.position[token]}): the state is NaN or infinite. Capture again with --dtype float32 or leave the layer out"
        )


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
        """Put some together."""
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
        """Return those where the boolean array holds."""
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

    Which values are massive is known only at the end, when the medians are: until then every token with a value of 100 or
    more is a candidate. Where these grow many (some models have such values everywhere), those under half the ratio, by the
    medians so far, are dropped.

    Parameters
    ----------
    sample
        Gives the medians.
    """

    def __init__(self, sample: RowSample) -> None:
        self.sample = sample
        self._parts: list[Candidates] = []
        self._held = 0
        self._prune_at = 4096

    def update(
        self,
        rows: StateRows,
        other: StateRows | None,
        peaks: list[Float[torch.Tensor, "_layer _feature"]],
        products: TokenProducts,
    ) -> None:
        """Take the candidates among some rows, given the rows' peaks and products."""
        if all(bool((peak < LEAST_MAGNITUDE).all()) for peak in peaks):
            return
        sides = [rows.hidden] if other is None else [rows.hidden, other.hidden]
        high = np.zeros(len(rows), bool)
        for hidden, peak in zip(sides, peaks, strict=True):
            layer, feature = (peak >= LEAST_MAGNITUDE).nonzero(as_tuple=True)
            if len(layer) * 4 < peak.numel():
                high |= (hidden[:, layer, feature].abs() >= LEAST_MAGNITUDE).any(1).numpy()
            else:
                high |= (hidden.abs() >= LEAST_MAGNITUDE).flatten(1).any(1).numpy()
        chosen = torch.from_numpy(np.flatnonzero(high))
        magnitude = torch.cat([hidden[chosen].abs().amax(-1) for hidden in sides], dim=1)
        part = Candidates(
            rows.row[high],
            rows.sequence_index[high],
            rows.position[high],
            magnitude,
            products.dots[chosen],
            products.squares[chosen],
            products.squares_other[chosen],
        )
        self._append(part)

    def merge(self, part: "MassiveTokens") -> None:
        """Take another's candidates."""
        for piece in part._parts:
            self._append(piece)

    def medians(self) -> Float[np.ndarray, " layers"]:
        """Return the median absolute values: the first capture's layers, then the second's."""
        sides = 1 if self.sample.study.second is None else 2
        return np.concatenate([median_magnitude(self.sample.hidden(side)) for side in range(sides)])

    def find(self, medians: Float[np.ndarray, " layers"], ratio: float = LEAST_RATIO) -> Candidates | None:
        """Return the tokens with a value of at least `ratio` times its layer's median; None if there are none."""
        if not self._parts:
            return None
        line = torch.from_numpy(np.maximum(ratio * medians, LEAST_MAGNITUDE))
        found = [part.select((part.magnitude.double() >= line).any(1).numpy()) for part in self._parts]
        found = [part for part in found if len(part)]
        if not found:
            return None
        return Candidates.join(found)

    def _append(self, part: Candidates) -> None:
        self._parts.append(part)
        self._held += len(part)
        if self._held > self._prune_at:
            kept = self.find(self.medians(), LEAST_RATIO / 2)
            self._parts = [] if kept is None else [kept]
            self._held = 0 if kept is None else len(kept)
            self._prune_at = max(4096, 2 * self._held)
