"""Estimator of the measures of clouds of tokens: biased CKA, Procrustes distances, and all measures of a layer's spectrum.

If the sample contains all tokens, they are computed from its rows. Otherwise sums of products of features are used or,
if these need too much memory, from the seeded sample.
"""

from collections.abc import Iterator
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float

from layerscope.measures.accumulators.cross_covariance import CrossCovariance
from layerscope.measures.accumulators.row_sample import RowSample
from layerscope.measures.catalogue import MEASURES
from layerscope.measures.context import AnalysisContext
from layerscope.measures.estimate import Details, Estimate, describe_sample
from layerscope.measures.estimators.cloud_measures import CLOUDS, SPECTRAL, CloudMeasure, SpectralMeasure
from layerscope.measures.estimators.estimator import Estimator
from layerscope.measures.estimators.half_samples import HalfSamples
from layerscope.measures.kernels.clouds import Cloud
from layerscope.measures.kernels.rounding import Noise
from layerscope.measures.kernels.spectra import Spectrum
from layerscope.states import StateRows

__all__ = ["Covariance"]


class Covariance(Estimator):
    """Measures of two clouds of tokens, and of the spectrum of one.

    The products between layers may use a quarter of the memory; if they need more, pairs of layers are compared on the sample.
    The products within layers may use a quarter too. If they need more, the layers are processed in groups, one pass each, or
    on the sample if rows are seen only once.
    """

    kernels: ClassVar[dict[str, CloudMeasure | SpectralMeasure]] = {**CLOUDS, **SPECTRAL}

    def __init__(self, context: AnalysisContext, sample: RowSample, wanted: frozenset[str]) -> None:
        super().__init__(context, sample, wanted)
        self.axes = context.axes
        kernels = {name: kernel for name, kernel in self.kernels.items() if name in wanted}
        self.pairwise = any(isinstance(kernel, CloudMeasure) for kernel in kernels.values())
        self.spectral = {name: kernel for name, kernel in kernels.items() if isinstance(kernel, SpectralMeasure)}
        self.spectra: list[list[list[float]]] = [[] for _ in self.axes]
        self.in_memory = context.tokens is not None and context.tokens <= sample.size
        self.sums: CrossCovariance | None = None
        self.turns: list[slice] = [slice(None)]
        self._halved: list[np.ndarray] | None = None
        self._plan()

    def update(self, rows: StateRows, other: StateRows | None) -> None:
        """Add some rows."""
        if self.sums is not None:
            states = [rows.hidden] if other is None else [rows.hidden, other.hidden]
            self.sums.update([hidden[:, self.turns[0]] for hidden in states])

    def merge(self, part: "Covariance") -> None:
        """Add the sums of another accumulator."""
        if self.sums is not None and part.sums is not None:
            self.sums.merge(part.sums)

    def empty_like(self, sample: RowSample) -> "Covariance":
        """Return an empty accumulator for the same group of layers."""
        part = Covariance(self.context, sample, self.wanted)
        part.turns = self.turns
        part.sums = None if self.sums is None else self.sums.empty_like()
        return part

    def end_pass(self) -> bool:
        """Compute the measures of the current group of layers; return whether other groups remain."""
        if self.sums is not None:
            self.sums.flush()
        if self.spectral:
            for side, values in enumerate(self.spectra):
                values += self._spectral_values(side, self._spectra(side), self.turns[0].start or 0)
        if len(self.turns) == 1:
            return False
        self.turns = self.turns[1:]
        self.sums = self._empty(pairs=False)
        return True

    def compute(self, name: str, kernel: CloudMeasure | SpectralMeasure) -> Estimate:
        """Compute a measure from the sums or from the sample."""
        on_rows = self.sums is None or (isinstance(kernel, CloudMeasure) and not self.sums.pairs)
        tokens = self.sample.kept if on_rows else self.sample.seen
        where, details = describe_sample(tokens, self.sample.seen, self.context.options.seed)
        halves = HalfSamples(self.context, self.sample) if self.context.options.bootstrap else None
        if halves is not None:
            details |= halves.details
        if isinstance(kernel, SpectralMeasure):
            details |= kernel.details(self.axes, tokens)
            return self._spectral(name, tokens, where, details, halves)
        self_value = MEASURES[name].self_value if len(self.axes) == 1 else None
        return Estimate(
            self._on_rows(kernel, self_value)
            if self.sums is None or on_rows
            else kernel.on_sums(self.sums, self_value),
            tokens,
            f"centred states of {where}",
            details,
            replicates=None if halves is None else self._replicates(kernel, self_value, halves),
            resampling=None if halves is None else halves.resampling,
        )

    def _spectral(self, name: str, tokens: int, where: str, details: Details, halves: HalfSamples | None) -> Estimate:
        """Return the estimate of one of the spectral measures, which are computed together."""
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
        """Decide between the sample and sums, and how many layers to process in each pass."""
        if self.in_memory:
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
        """Yield the spectra of the current group of layers."""
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
        """Yield the spectra of all layers on some rows of the sample."""
        states = self.sample.hidden(side)[chosen]
        for layer in range(states.shape[1]):
            cloud = Cloud(states[:, layer])
            rank = partial(Noise.of(states[:, layer], self.context.epsilon).rank, scaled=cloud.singular_values)
            yield Spectrum(cloud.covariance(), len(states), states.shape[2], rank)

    def _spectral_values(self, side: int, spectra: Iterator[Spectrum], first: int = 0) -> list[list[float]]:
        """Compute all requested spectral measures of each layer from `first` on, with one decomposition a layer."""
        values: list[list[float]] = []
        for layer, spectrum in enumerate(spectra, start=first):
            with self.axes[side].layer_context(layer):
                values.append([measure.value(name, spectrum) for name, measure in self.spectral.items()])
        return values

    def _spectra_of(self, halves: HalfSamples) -> list[np.ndarray]:
        """Compute all requested spectral measures on each half-sample; the result is cached."""
        if self._halved is None:
            self._halved = [
                np.array([self._spectral_values(side, self._spectra_of_rows(side, rows)) for rows in halves.rows()])
                for side in range(len(self.axes))
            ]
        return self._halved

    def _on_rows(
        self, kernel: CloudMeasure, self_value: float | None, rows: slice | np.ndarray = slice(None)
    ) -> Float[np.ndarray, "layer layer_other"]:
        """Compare all pairs of layers on some rows of the sample."""
        return kernel.on_rows([self.sample.hidden(side)[rows] for side in range(len(self.axes))], self_value)

    def _replicates(
        self, kernel: CloudMeasure, self_value: float | None, halves: HalfSamples
    ) -> Float[np.ndarray, "replicate layer layer_other"]:
        """Compare all pairs of layers on each half-sample."""
        if kernel.matrices is not None:
            states = [self.sample.hidden(side) for side in range(len(self.axes))]
            return kernel.matrices(states, halves.group, halves.masks)
        return np.stack([self._on_rows(kernel, self_value, rows) for rows in halves.rows()])


def _singular_values(covariance: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the singular values of the states after each feature is multiplied by its weight."""
    values: torch.Tensor = torch.linalg.eigvalsh(covariance * weights[:, None] * weights)
    return values.clamp(min=0).sqrt()
