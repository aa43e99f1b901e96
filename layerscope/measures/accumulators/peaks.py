"""The largest absolute value of each feature of each layer, and the token that has it."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from layerscope.errors import MeasureError
from layerscope.measures.context import Axis
from layerscope.measures.kernels.rounding import rounding_scale, row_tolerance
from layerscope.states import StateRows

__all__ = ["RANKS", "Peaks"]

_LARGEST, _SMALLEST = float(np.finfo(np.float32).max), float(np.finfo(np.float32).tiny)
"""The range of magnitudes in which sums of fourth powers neither overflow nor underflow in float64."""

RANKS = 16
"""Number of features of each layer whose token is kept, and largest number of entries in the table of ratios."""


def _sixteenth(peaks: Float[np.ndarray, "layer feature"]) -> Float[np.ndarray, "layer 1"]:
    """Return each layer's 16th largest peak: lower peaks cannot enter the table."""
    ranks = min(RANKS, peaks.shape[1])
    floor: np.ndarray = np.partition(peaks, -ranks, axis=1)[:, -ranks, None]
    return floor


class Peaks:
    """The largest absolute value of every layer and feature, and the token that has it.

    The token is kept only for the 16 largest features of each layer. Among tokens of equal value it is the one of the lowest
    row.

    Parameters
    ----------
    axis
        The layers.

    Attributes
    ----------
    high, low
        Largest and smallest value of each layer and feature.
    value, row, position, token_id
        The value of largest magnitude and its token; valid only where `kept`.
    """

    def __init__(self, axis: Axis) -> None:
        self.axis = axis
        shape = (len(axis), axis.width)
        self.high = np.full(shape, -np.inf)
        self.low = np.full(shape, np.inf)
        self.value = np.zeros(shape)
        self.row, self.position, self.token_id = (np.full(shape, -1, np.int64) for _ in range(3))
        self._line = np.zeros(shape)

    @property
    def magnitude(self) -> Float[np.ndarray, "layer feature"]:
        """The largest absolute value of each layer and feature."""
        peaks: np.ndarray = np.maximum(self.high, -self.low)
        return peaks

    @property
    def kept(self) -> Bool[np.ndarray, "layer feature"]:
        """Whether the token of the largest absolute value was kept."""
        kept: np.ndarray = (self.row >= 0) & (np.abs(self.value) == self.magnitude)
        return kept

    def update(self, rows: StateRows) -> Float[np.ndarray, "layer feature"]:
        """Add some rows; return their own largest absolute values.

        Raises
        ------
        MeasureError
            For a value that is NaN, infinite, or beyond the range of float32.
        """
        hidden = rows.hidden.numpy()
        # numpy's extremes along the first axis are several times faster than torch's.
        high, low = hidden.max(0), hidden.min(0)
        chunk: np.ndarray = np.maximum(high, -low)
        if not (chunk <= _LARGEST).all():  # also true for NaN
            self._refuse(rows)
        layer, feature = np.nonzero(chunk >= (self._line if self._line.any() else _sixteenth(chunk)))
        if len(layer):
            column = hidden[:, layer, feature]
            ties = np.abs(column) == chunk[layer, feature]
            lowest = np.where(ties, rows.row[:, None], np.iinfo(np.int64).max).argmin(0)
            best = column[lowest, np.arange(len(layer))].astype(np.float64)
            self._raise((layer, feature), best, rows.row[lowest], rows.position[lowest], rows.token_id[lowest])
        self._widen(high, low)
        if (chunk > self._line).any():
            self._redraw()
        return chunk

    def merge(self, part: "Peaks") -> None:
        """Keep the peaks of another accumulator where they are higher."""
        at = np.nonzero(part.kept)
        self._raise(at, part.value[at], part.row[at], part.position[at], part.token_id[at])
        self._widen(part.high, part.low)
        self._redraw()

    def require_normal_scale(self) -> None:
        """Refuse layers whose values are all below the normal range of float32, though not all zero.

        Raises
        ------
        MeasureError
            There is such a layer; the message names the first.
        """
        largest = self.magnitude.max(axis=1)
        for layer in np.flatnonzero((largest > 0) & (largest < _SMALLEST)).tolist():
            fault = f"its largest value {largest[layer]:.3g} is below the normal range of float32"
            raise MeasureError(f"{self.axis.describe(layer)}: {fault}\nscale the states")

    def constant(self, precision: float) -> list[int]:
        """Return the indices of the layers that are the same for every token, within the precision of the states."""
        ends = [rounding_scale(torch.from_numpy(extreme)) for extreme in (self.high, self.low)]
        apart = torch.linalg.vector_norm(ends[0] - ends[1], dim=1)
        same: list[int] = (apart <= row_tolerance(precision)).nonzero()[:, 0].tolist()
        return same

    def _raise(
        self,
        at: tuple[np.ndarray, ...],
        value: Float[np.ndarray, " entry"],
        row: Int[np.ndarray, " entry"],
        position: Int[np.ndarray, " entry"],
        token_id: Int[np.ndarray, " entry"],
    ) -> None:
        held = np.maximum(self.magnitude[at], 0)
        earlier = (self.row[at] < 0) | (row < self.row[at]) | (np.abs(self.value[at]) < held)
        better = (np.abs(value) > held) | ((np.abs(value) == held) & earlier)
        places = tuple(axis[better] for axis in at)
        self.value[places], self.row[places] = value[better], row[better]
        self.position[places], self.token_id[places] = position[better], token_id[better]

    def _widen(self, high: Float[np.ndarray, "layer feature"], low: Float[np.ndarray, "layer feature"]) -> None:
        np.maximum(self.high, high, out=self.high)
        np.minimum(self.low, low, out=self.low)

    def _redraw(self) -> None:
        """Set the threshold of the table for each value: the higher of its own peak and its layer's 16th peak."""
        peaks = self.magnitude
        self._line = np.maximum(peaks, _sixteenth(peaks))

    def _refuse(self, rows: StateRows) -> None:
        token, layer, feature = (~(rows.hidden.abs() <= _LARGEST)).nonzero()[0].tolist()
        value = rows.hidden[token, layer, feature].item()
        fault = (
            f"the value {value:.3g} is beyond the range of float32\nscale the states"
            if np.isfinite(value)
            else "the state is NaN or infinite\ncapture again with --dtype float32, or without the layer"
        )
        raise MeasureError(
            f"{self.axis.describe(layer)}, row {rows.row[token]} (sequence {rows.sequence_index[token]}, position "
            f"{rows.position[token]}): {fault}"
        )
