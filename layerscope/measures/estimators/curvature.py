"""Estimator of the curvature: how sharply the path of a sequence's states turns from token to token."""

from collections.abc import Callable
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool

from layerscope.measures.accumulators.neighbouring_rows import NeighbouringRows, Rows
from layerscope.measures.accumulators.row_sample import RowSample
from layerscope.measures.context import AnalysisContext, Axis
from layerscope.measures.estimate import Estimate
from layerscope.measures.estimators.cosines import Resampled, resample
from layerscope.measures.estimators.estimator import Estimator
from layerscope.measures.kernels.curvature import turning_angles
from layerscope.measures.kernels.undefined import Undefined
from layerscope.states import StateRows

__all__ = ["Curvature"]


_Kernel = Callable[[torch.Tensor, float], torch.Tensor]


class Curvature(Estimator):
    """Sums of the turning angles of each sequence.

    Parameters
    ----------
    context
        The analysis.
    sample
        Not used.
    wanted
        Names of all measures of the analysis.
    """

    kernels: ClassVar[dict[str, _Kernel]] = {"curvature": turning_angles}

    def __init__(self, context: AnalysisContext, sample: RowSample, wanted: frozenset[str]) -> None:
        super().__init__(context, sample, wanted)
        layers, width = [len(axis) for axis in context.axes], [axis.width for axis in context.axes]
        self.waiting = NeighbouringRows(layers, width, context.dtype, context.options.exclude_first)
        self.tokens = np.zeros(context.sequences, np.int64)
        self.angle = [np.zeros((context.sequences, len(axis))) for axis in context.axes]
        self.turns = [np.zeros((context.sequences, len(axis))) for axis in context.axes]

    def update(self, rows: StateRows, other: StateRows | None) -> None:
        """Add some rows."""
        sides = [rows] if other is None else [rows, other]
        number = rows.row if self.context.rows is None else np.searchsorted(self.context.rows, rows.row)
        self._grow(int(rows.sequence_index.max(initial=-1)) + 1)
        np.add.at(self.tokens, rows.sequence_index, 1)
        position = np.stack([side.position for side in sides], axis=1)
        self._add(*self.waiting.take(Rows.new(number, rows.sequence_index, position, [side.hidden for side in sides])))

    def merge(self, part: "Curvature") -> None:
        """Add the sums of another accumulator, and the turns that its waiting rows complete."""
        self._grow(len(part.tokens))
        sequences = slice(len(part.tokens))
        self.tokens[sequences] += part.tokens
        for total, more in zip([*self.angle, *self.turns], [*part.angle, *part.turns], strict=True):
            total[sequences] += more
        self._add(*self.waiting.merge(part.waiting))

    def compute(self, name: str, kernel: _Kernel) -> Estimate:
        """Average the angles over each sequence, then over sequences."""
        present = self.tokens > 0
        results, usable = [], []
        for axis, angle, turns in zip(self.context.axes, self.angle, self.turns, strict=True):
            curved = turns[present] > 0
            _refuse_without_turns(axis, curved)
            mean = np.divide(angle[present], turns[present], out=np.zeros_like(angle[present]), where=curved)
            each = [
                resample(mean[:, layer], curved[:, layer].astype(float), self.context) for layer in range(len(axis))
            ]
            results.append(_stacked(each))
            usable.append(curved.all(1).sum())
        return Estimate.of_layers(
            [result.value for result in results],
            int(self.tokens.sum()),
            "mean over sequences of the mean angle between successive steps",
            {"sequences": int(min(usable))},
            replicates=[result.replicates for result in results],
            resampling=results[0].resampling,
        )

    def _add(self, rows: Rows, turns: Bool[np.ndarray, " turn"]) -> None:
        """Add the angles of some turns, each given by the first of its three rows."""
        if not turns.any():
            return
        slot = rows.sequence[:-2][turns]
        for total, count, states in zip(self.angle, self.turns, rows.states, strict=True):
            angle = turning_angles(states, self.context.epsilon)[torch.from_numpy(turns)].numpy()
            np.add.at(total, slot, np.nan_to_num(angle))
            np.add.at(count, slot, ~np.isnan(angle))

    def _grow(self, sequences: int) -> None:
        room = len(self.tokens)
        if sequences <= room:
            return
        more = max(sequences, 2 * room) - room
        self.tokens = np.pad(self.tokens, (0, more))
        self.angle = [np.pad(total, ((0, more), (0, 0))) for total in self.angle]
        self.turns = [np.pad(total, ((0, more), (0, 0))) for total in self.turns]


def _stacked(layers: list[Resampled]) -> Resampled:
    replicates = [layer.replicates for layer in layers if layer.replicates is not None]
    return Resampled(
        np.stack([layer.value for layer in layers]),
        np.stack(replicates, axis=1) if replicates else None,
        layers[0].resampling,
    )


def _refuse_without_turns(axis: Axis, curved: Bool[np.ndarray, "sequence layer"]) -> None:
    if not curved.any():
        raise Undefined(
            "no sequence has three different states at consecutive positions",
            remedy="capture with --tokens all, or leave it out",
        )
    straight = np.flatnonzero(~curved.any(0))
    if len(straight):
        raise Undefined("no two successive steps of its tokens have a length", axis.describe(int(straight[0])))
