"""Estimator of intrinsic dimensions, on the sample of rows because their cost is quadratic in tokens."""

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from layerscope.measures.estimate import Estimate, describe_sample
from layerscope.measures.estimators.estimator import Estimator
from layerscope.measures.estimators.half_samples import HalfSamples
from layerscope.measures.kernels.intrinsic_dimension import mle_dimension, two_nn
from layerscope.states import StateRows

__all__ = ["IntrinsicDimension"]


class _Kernel(NamedTuple):
    """The dimension of one layer's states, and the number of neighbours it uses, as text."""

    dimension: Callable[[Float[np.ndarray, "token feature"]], float]
    neighbours: str


class IntrinsicDimension(Estimator):
    """Intrinsic dimensions of the sample."""

    kernels: ClassVar[dict[str, _Kernel]] = {
        "two_nn": _Kernel(two_nn, "two"),
        "mle_dimension": _Kernel(mle_dimension, "ten"),
    }

    def update(self, rows: StateRows, other: StateRows | None) -> None:
        """Do nothing: the engine fills the sample."""

    def merge(self, part: "IntrinsicDimension") -> None:
        """Do nothing."""

    def compute(self, name: str, kernel: _Kernel) -> Estimate:
        """Compute the dimension of each layer."""
        sides = range(len(self.context.axes))
        values = [self._dimensions(kernel, side, np.arange(self.sample.kept)) for side in sides]
        where, details = describe_sample(self.sample.kept, self.sample.seen, self.context.options.seed)
        halves = HalfSamples(self.context, self.sample) if self.context.options.bootstrap else None
        return Estimate.of_layers(
            values,
            self.sample.kept,
            f"distances to the {kernel.neighbours} nearest neighbours of {where}",
            details | (halves.details if halves else {}),
            replicates=[self._replicates(kernel, side, halves) for side in sides] if halves else [],
            resampling=halves.resampling if halves else None,
        )

    def _replicates(self, kernel: _Kernel, side: int, halves: HalfSamples) -> Float[np.ndarray, "replicate layer"]:
        return np.stack([self._dimensions(kernel, side, rows) for rows in halves.rows()])

    def _dimensions(self, kernel: _Kernel, side: int, rows: Int[np.ndarray, " row"]) -> Float[np.ndarray, " layer"]:
        """Compute the dimension of each layer on some rows of the sample."""
        axis, hidden = self.context.axes[side], self.sample.settled(side).numpy()
        dimensions = np.empty(len(axis))
        for layer in range(len(axis)):
            with axis.layer_context(layer):
                dimensions[layer] = kernel.dimension(hidden[rows, layer].astype(np.float64))
        return dimensions
