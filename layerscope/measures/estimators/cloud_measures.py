"""The measures that `layerscope.measures.estimators.covariance` computes: of two clouds of tokens, and of one spectrum.

A new measure of a layer's spectrum is one line of `SPECTRAL`; a new measure of two clouds is one line of `CLOUDS`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from layerscope.measures.accumulators.cross_covariance import CrossCovariance
from layerscope.measures.comparisons.all_pairs import all_pairs
from layerscope.measures.context import Axis
from layerscope.measures.estimate import Details
from layerscope.measures.kernels.clouds import (
    Cloud,
    aligned_features,
    frobenius_norm,
    procrustes_distance,
    rotation_distance,
    shape_angle,
    trace,
)
from layerscope.measures.kernels.gram import biased_cka
from layerscope.measures.kernels.spectra import (
    Spectrum,
    alpha_req,
    alpha_req_weighted,
    effective_rank,
    fit_ranks,
    isoscore,
    matrix_entropy,
    participation_ratio,
    rankme,
    stable_rank,
)
from layerscope.measures.kernels.undefined import undefined_context

__all__ = ["CLOUDS", "SPECTRAL", "CloudMeasure", "SpectralMeasure"]


@dataclass(frozen=True)
class CloudMeasure:
    """A measure of two clouds of tokens, computed from covariances or from rows.

    Attributes
    ----------
    compare
        The measure, from the products of both layers' features and the size of each layer.
    size
        Size of a layer, from its covariance.
    matrices
        Computes the matrices of all pairs of layers from rows, one for each selection of groups. None where `compare` is used.
    """

    compare: Callable[[torch.Tensor, float, float], float]
    size: Callable[[torch.Tensor], float]
    matrices: Callable[[list[torch.Tensor], np.ndarray, np.ndarray], np.ndarray] | None = None

    def on_sums(self, sums: CrossCovariance, self_value: float | None) -> Float[np.ndarray, "layer layer_other"]:
        """Compare all pairs of layers from sums of products of features."""
        own = [
            [self.size(sums.within(layer, side) / sums.count) for layer in range(layers)]
            for side, layers in enumerate(sums.layers)
        ]
        return all_pairs(
            (sums.layers[0], sums.layers[-1]),
            lambda layer, other: self.compare(sums.between(layer, other) / sums.count, own[0][layer], own[-1][other]),
            self_value,
        )

    def on_rows(
        self, states: list[Float[torch.Tensor, "token _layer _feature"]], self_value: float | None
    ) -> Float[np.ndarray, "layer layer_other"]:
        """Compare all pairs of layers on rows of one or two captures."""
        tokens = len(states[0])
        if self.matrices is not None:
            matrix: np.ndarray = self.matrices(states, np.zeros(tokens, np.int64), np.ones((1, 1)))[0]
            return matrix
        clouds = [[Cloud(hidden[:, layer]) for layer in range(hidden.shape[1])] for hidden in states]
        own = [[cloud.size / tokens for cloud in side] for side in clouds]
        return all_pairs(
            (len(clouds[0]), len(clouds[-1])),
            lambda layer, other: self.compare(
                clouds[0][layer].cross(clouds[-1][other]) / tokens, own[0][layer], own[-1][other]
            ),
            self_value,
        )


@dataclass(frozen=True)
class SpectralMeasure:
    """A measure of the spectrum of one layer, and the details that it adds to an estimate."""

    kernel: Callable[[Spectrum], float]
    details: Callable[[list[Axis], int], Details] = lambda axes, tokens: {}

    def value(self, name: str, spectrum: Spectrum) -> float:
        """Compute the measure of one spectrum; a refusal names the measure."""
        with undefined_context(measure=name):
            return self.kernel(spectrum)


def _fit_range(axes: list[Axis], tokens: int) -> Details:
    """Return the ranks to which a power law is fitted, for each capture."""
    details: Details = {}
    for axis, suffix in zip(axes, ("", "_other"), strict=False):
        first, last = fit_ranks(min(axis.width, tokens - 1))
        details |= {f"fit_from{suffix}": first, f"fit_to{suffix}": last}
    return details


CLOUDS = {
    "cka_biased": CloudMeasure(aligned_features, frobenius_norm, matrices=biased_cka),
    "procrustes": CloudMeasure(procrustes_distance, trace),
    "procrustes_unnormalized": CloudMeasure(rotation_distance, trace),
    "shape_angle": CloudMeasure(shape_angle, trace),
}
SPECTRAL = {
    "participation_ratio": SpectralMeasure(participation_ratio),
    "effective_rank": SpectralMeasure(effective_rank),
    "rankme": SpectralMeasure(rankme),
    "stable_rank": SpectralMeasure(stable_rank),
    "matrix_entropy": SpectralMeasure(matrix_entropy),
    "alpha_req": SpectralMeasure(alpha_req, _fit_range),
    "alpha_req_weighted": SpectralMeasure(alpha_req_weighted, _fit_range),
    "isoscore": SpectralMeasure(isoscore),
}
