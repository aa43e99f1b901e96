"""Estimator of per-layer measures on the sample of rows, for measures that sums over tokens cannot give."""

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from layerscope.measures.estimate import Estimate, describe_sample
from layerscope.measures.estimators.estimator import Estimator
from layerscope.measures.estimators.half_samples import HalfSamples
from layerscope.measures.kernels.intrinsic_dimension import mle_dimension, two_nn
from layerscope.states import StateRows

__all__ = ["SampledLayers"]


class _Kernel(NamedTuple):
    """The measure of one layer's states, and what it is computed from, as text for the file."""

    compute: Callable[[Float[np.ndarray, "token feature"]], float]
    description: str


class SampledLayers(Estimator):
    """Measures of one layer's states in the sample, such as intrinsic dimensions."""

    kernels: ClassVar[dict[str, _Kernel]] = {
        "two_nn": _Kernel(two_nn, "distances to the two nearest neighbours"),
        "mle_dimension": _Kernel(mle_dimension, "distances to the ten nearest neighbours"),
    }

    def update(self, rows: StateRows, other: StateRows | None) -> None:
        """Do nothing: the engine fills the sample."""

    def merge(self, part: "SampledLayers") -> None:
        """Do nothing."""

    def compute(self, name: str, kernel: _Kernel) -> Estimate:
        """Compute the measure of each layer."""
        sides = range(len(self.context.axes))
        values = [self._values(kernel, side, np.arange(self.sample.kept)) for side in sides]
        where, details = describe_sample(self.sample.kept, self.sample.seen, self.context.options.seed)
        halves = HalfSamples(self.context, self.sample) if self.context.options.bootstrap else None
        return Estimate.of_layers(
            values,
            self.sample.kept,
            f"{kernel.description} of {where}",
            details | (halves.details if halves else {}),
            replicates=[self._replicates(kernel, side, halves) for side in sides] if halves else [],
            resampling=halves.resampling if halves else None,
        )

    def _replicates(self, kernel: _Kernel, side: int, halves: HalfSamples) -> Float[np.ndarray, "replicate layer"]:
        return np.stack([self._values(kernel, side, rows) for rows in halves.rows()])

    def _values(self, kernel: _Kernel, side: int, rows: Int[np.ndarray, " row"]) -> Float[np.ndarray, " layer"]:
        """Compute the measure of each layer on some rows of the sample."""
        axis, hidden = self.context.axes[side], self.sample.settled(side).numpy()
        values = np.empty(len(axis))
        for layer in range(len(axis)):
            with axis.layer_context(layer):
                values[layer] = kernel.compute(hidden[rows, layer].astype(np.float64))
        return values
