"""Measures of clouds of tokens as wholes: biased CKA, Procrustes, and everything read off a layer's spectrum.

Where all tokens are held they come from the rows; else from sums of products of features, and where these are too large for
the memory given, from the seeded sample of rows. This module knows rows and sums; it knows no labels and no files.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float

from layerscope.measures.accumulators.cross_covariance import CrossCovariance
from layerscope.measures.accumulators.row_sample import RowSample
from layerscope.measures.catalogue import MEASURES
from layerscope.measures.comparisons.all_pairs import all_pairs
from layerscope.measures.context import AnalysisContext, Axis
from layerscope.measures.estimate import Details, Estimate, describe_sample
from layerscope.measures.estimators.estimator import Estimator
from layerscope.measures.estimators.half_samples import HalfSamples
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
from layerscope.measures.kernels.rounding import Noise
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
from layerscope.states import StateRows

__all__ = ["Covariance"]


@dataclass(frozen=True)
class _Clouds:
    """A measure of two clouds of tokens, from their covariances or from the sample.

    Attributes
    ----------
    compare
        The measure, from the products of both layers' features and the size of each layer.
    size
        Size of a layer, from its covariance.
    on_rows
        Computes the matrices from the states of the sample, one per selection of groups; None where `compare` does.
    """

    compare: Callable[[torch.Tensor, float, float], float]
    size: Callable[[torch.Tensor], float]
    on_rows: Callable[[list[torch.Tensor], np.ndarray, np.ndarray], np.ndarray] | None = None


@dataclass(frozen=True)
class _Spectral:
    """A measure of the spectrum of one layer, and the details it adds to an estimate."""

    kernel: Callable[[Spectrum], float]
    details: Callable[[list[Axis], int], Details] = lambda axes, tokens: {}


def _fit_range(axes: list[Axis], tokens: int) -> Details:
    """Return the ranks to which a power law is fitted, for each capture."""
    details: Details = {}
    for axis, suffix in zip(axes, ("", "_other"), strict=False):
        first, last = fit_ranks(min(axis.width, tokens - 1))
        details |= {f"fit_from{suffix}": first, f"fit_to{suffix}": last}
    return details


class Covariance(Estimator):
    """Clouds of tokens compared as wholes.

    A quarter of the memory may go to the products between layers; where they need more, pairs of layers are compared on the
    sample. So may the products within layers; where all layers need more, they are taken in groups, a pass each, or, where
    rows are seen only once, from the sample.
    """

    kernels: ClassVar[dict[str, _Clouds | _Spectral]] = {
        "cka_biased": _Clouds(aligned_features, frobenius_norm, on_rows=biased_cka),
        "procrustes": _Clouds(procrustes_distance, trace),
        "procrustes_unnormalized": _Clouds(rotation_distance, trace),
        "shape_angle": _Clouds(shape_angle, trace),
        "participation_ratio": _Spectral(participation_ratio),
        "effective_rank": _Spectral(effective_rank),
        "rankme": _Spectral(rankme),
        "stable_rank": _Spectral(stable_rank),
        "matrix_entropy": _Spectral(matrix_entropy),
        "alpha_req": _Spectral(alpha_req, _fit_range),
        "alpha_req_weighted": _Spectral(alpha_req_weighted, _fit_range),
        "isoscore": _Spectral(isoscore),
    }

    def __init__(self, context: AnalysisContext, sample: RowSample, wanted: frozenset[str]) -> None:
        super().__init__(context, sample, wanted)
        self.axes = context.axes
        kernels = {name: kernel for name, kernel in self.kernels.items() if name in wanted}
        self.pairwise = any(isinstance(kernel, _Clouds) for kernel in kernels.values())
        self.spectral = {name: kernel for name, kernel in kernels.items() if isinstance(kernel, _Spectral)}
        self.spectra: list[list[list[float]]] = [[] for _ in self.axes]
        self.held = context.tokens is not None and context.tokens <= sample.size
        self.sums: CrossCovariance | None = None
        self.turns: list[slice] = [slice(None)]
        self._halved: list[np.ndarray] | None = None
        self._plan()

    def update(self, rows: StateRows, other: StateRows | None) -> None:
        """Take some rows."""
        if self.sums is not None:
            states = [rows.hidden] if other is None else [rows.hidden, other.hidden]
            self.sums.update([hidden[:, self.turns[0]] for hidden in states])

    def merge(self, part: "Covariance") -> None:
        """Add another's sums."""
        if self.sums is not None and part.sums is not None:
            self.sums.merge(part.sums)

    def empty_like(self, sample: RowSample) -> "Covariance":
        """Make an empty accumulator for the same group of layers."""
        part = Covariance(self.context, sample, self.wanted)
        part.turns = self.turns
        part.sums = None if self.sums is None else self.sums.empty_like()
        return part

    def end_pass(self) -> bool:
        """Compute the spectra of the layers at hand; say whether other layers remain."""
        if self.sums is not None:
            self.sums.flush()
        if self.spectral:
            for side, found in enumerate(self.spectra):
                found += self._read_off(side, self._spectra(side), self.turns[0].start or 0)
        if len(self.turns) == 1:
            return False
        self.turns = self.turns[1:]
        self.sums = self._empty(pairs=False)
        return True

    def compute(self, name: str, kernel: _Clouds | _Spectral) -> Estimate:
        """Compute a measure from the sums, or from the sample."""
        on_rows = self.sums is None or (isinstance(kernel, _Clouds) and not self.sums.pairs)
        tokens = self.sample.kept if on_rows else self.sample.seen
        where, details = describe_sample(tokens, self.sample.seen, self.context.options.seed)
        halves = HalfSamples(self.context, self.sample) if self.context.options.bootstrap else None
        if halves is not None:
            details |= halves.details
        if isinstance(kernel, _Spectral):
            details |= kernel.details(self.axes, tokens)
            return self._spectral(name, tokens, where, details, halves)
        self_value = MEASURES[name].self_value if len(self.axes) == 1 else None
        return Estimate(
            self._on_rows(kernel, self_value) if on_rows else self._on_sums(kernel, self_value),
            tokens,
            f"centred states of {where}",
            details,
            replicates=None if halves is None else self._replicates(kernel, self_value, halves),
            resampling=None if halves is None else halves.resampling,
        )

    def _spectral(self, name: str, tokens: int, where: str, details: Details, halves: HalfSamples | None) -> Estimate:
        """Select one of the measures that were computed from the spectra together."""
        which = list(self.spectral).index(name)
        return Estimate.of_layers(
            [np.array(values)[:, which] for values in self.spectra],
            tokens,
            f"eigenvalues of the centred covariance of {where}",
            details,
            replicates=[] if halves is None else [values[:, :, which] for values in self._spectra_of(halves)],
            resampling=None if halves is None else halves.resampling,
        )

    def _plan(self) -> None:
        """Choose between the rows held and sums, and how many layers to take at a time."""
        if self.held:
            return
        budget = self.context.options.memory // 4
        shape = [len(axis) for axis in self.axes], [axis.width for axis in self.axes]
        if self.pairwise and CrossCovariance.bytes_needed(*shape, pairs=True) <= budget:
            self.sums = self._empty(pairs=True)
        elif self.spectral:
            layers = max(len(axis) for axis in self.axes)
            at_once = int(budget // (8 * sum(axis.width**2 for axis in self.axes)))
            if at_once < layers and self.context.rows is None:
                return
            at_once = max(1, at_once)
            self.turns = [slice(start, start + at_once) for start in range(0, layers, at_once)]
            self.sums = self._empty(pairs=False)

    def _empty(self, *, pairs: bool) -> CrossCovariance:
        layers = [len(range(len(axis))[self.turns[0]]) for axis in self.axes]
        return CrossCovariance(layers, [axis.width for axis in self.axes], pairs=pairs)

    def _spectra(self, side: int) -> Iterator[Spectrum]:
        """Give the spectra of the layers at hand."""
        if self.sums is None:
            yield from self._spectra_of_rows(side, slice(None))
            return
        sample = self.sample.hidden(side)[:, self.turns[0]]
        for layer in range(self.sums.layers[side]):
            covariance = self.sums.within(layer, side)
            noise = Noise.of(sample[:, layer], self.context.epsilon, self.sums.count)
            rank = partial(noise.rank, scaled=partial(_singular_values, covariance))
            yield Spectrum(covariance, self.sums.count, self.axes[side].width, rank)

    def _spectra_of_rows(self, side: int, chosen: slice | np.ndarray) -> Iterator[Spectrum]:
        """Give the spectra of all layers on some of the rows held."""
        states = self.sample.hidden(side)[chosen]
        for layer in range(states.shape[1]):
            cloud = Cloud(states[:, layer])
            rank = partial(Noise.of(states[:, layer], self.context.epsilon).rank, scaled=cloud.singular_values)
            yield Spectrum(cloud.covariance(), len(states), states.shape[2], rank)

    def _read_off(self, side: int, spectra: Iterator[Spectrum], first: int = 0) -> list[list[float]]:
        """Compute all spectral measures asked for of each layer, from the `first` on, decomposing it once."""
        values: list[list[float]] = []
        for layer, spectrum in enumerate(spectra, start=first):
            with self.axes[side].layer_context(layer):
                values.append([_value(name, measure, spectrum) for name, measure in self.spectral.items()])
        return values

    def _spectra_of(self, halves: HalfSamples) -> list[np.ndarray]:
        """Compute all spectral measures asked for on each half, once for all of them."""
        if self._halved is None:
            self._halved = [
                np.array([self._read_off(side, self._spectra_of_rows(side, rows)) for rows in halves.rows()])
                for side in range(len(self.axes))
            ]
        return self._halved

    def _on_sums(self, kernel: _Clouds, self_value: float | None) -> Float[np.ndarray, "layer layer_other"]:
        """Compare all pairs of layers by sums of products of features."""
        sums = self.sums
        assert sums is not None
        own = [
            [kernel.size(sums.within(layer, side) / sums.count) for layer in range(len(axis))]
            for side, axis in enumerate(self.axes)
        ]
        return all_pairs(
            (len(self.context.first), len(self.context.other)),
            lambda layer, other: kernel.compare(sums.between(layer, other) / sums.count, own[0][layer], own[-1][other]),
            self_value,
        )

    def _on_rows(
        self, kernel: _Clouds, self_value: float | None, rows: slice | np.ndarray = slice(None)
    ) -> Float[np.ndarray, "layer layer_other"]:
        """Compare all pairs of layers on some rows of the sample."""
        states = [self.sample.hidden(side)[rows] for side in range(len(self.axes))]
        tokens = len(states[0])
        if kernel.on_rows is not None:
            matrix: np.ndarray = kernel.on_rows(states, np.zeros(tokens, np.int64), np.ones((1, 1)))[0]
            return matrix
        clouds = [[Cloud(hidden[:, layer]) for layer in range(hidden.shape[1])] for hidden in states]
        own = [[cloud.size / tokens for cloud in side] for side in clouds]
        return all_pairs(
            (len(clouds[0]), len(clouds[-1])),
            lambda layer, other: kernel.compare(
                clouds[0][layer].cross(clouds[-1][other]) / tokens, own[0][layer], own[-1][other]
            ),
            self_value,
        )

    def _replicates(
        self, kernel: _Clouds, self_value: float | None, halves: HalfSamples
    ) -> Float[np.ndarray, "replicate layer layer_other"]:
        """Compare all pairs of layers on each half of the sample."""
        if kernel.on_rows is not None:
            states = [self.sample.hidden(side) for side in range(len(self.axes))]
            return kernel.on_rows(states, halves.group, halves.masks)
        return np.stack([self._on_rows(kernel, self_value, rows) for rows in halves.rows()])


def _value(name: str, measure: _Spectral, spectrum: Spectrum) -> float:
    with undefined_context(measure=name):
        return measure.kernel(spectrum)


def _singular_values(covariance: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the singular values of states whose features are multiplied by the weights."""
    values: torch.Tensor = torch.linalg.eigvalsh(covariance * weights[:, None] * weights)
    return values.clamp(min=0).sqrt()
