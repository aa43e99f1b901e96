"""Measures of clouds of tokens as wholes: biased CKA, Procrustes, and everything read off a layer's spectrum.

Where all tokens are held they come from the rows; else from sums of products of features, and where these are too large for
the memory given, from the seeded sample of rows. This module knows rows and sums; it knows no labels and no files.
"""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from jaxtyping import Float

from layerscope.measures.accumulators.cross_covariance import CrossCovariance
from layerscope.measures.accumulators.row_sample import RowSample
from layerscope.measures.catalogue import MEASURES
from layerscope.measures.comparisons.all_pairs import all_pairs
from layerscope.measures.context import AnalysisContext, Estimate
from layerscope.measures.estimators.estimator import Estimator
from layerscope.measures.estimators.half_samples import HalfSamples
from layerscope.measures.kernels.clouds import Cloud, procrustes_distance, rotation_distance, shape_angle
from layerscope.measures.kernels.gram import GramSums
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
from layerscope.states import StateRows

__all__ = ["Covariance"]

PAIRWISE = frozenset({"cka_biased", "procrustes", "procrustes_unnormalized", "shape_angle"})
SPECTRAL: dict[str, Callable[[Spectrum], float]] = {
    kernel.__name__: kernel
    for kernel in (
        participation_ratio,
        effective_rank,
        rankme,
        stable_rank,
        matrix_entropy,
        alpha_req,
        alpha_req_weighted,
        isoscore,
    )
}


class Covariance(Estimator):
    """Clouds of tokens compared as wholes.

    A quarter of the memory may go to the products between layers; where they need more, pairs of layers are compared on the
    sample. So may the products within layers; where all layers need more, they are taken in groups, a pass each, or, where
    rows are seen only once, from the sample.
    """

    def __init__(self, context: AnalysisContext, sample: RowSample, wanted: frozenset[str]) -> None:
        super().__init__(context, sample, wanted)
        self.axes = context.axes
        self.spectral = [name for name in SPECTRAL if name in wanted]
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

    def estimate(self, name: str) -> Estimate:
        """Compute one of the family's measures."""
        on_rows = self.sums is None or (name in PAIRWISE and not self.sums.pairs)
        where, tokens = "all tokens", self.sample.seen
        chosen: dict[str, int | float | str] = {}
        if on_rows and not self.sample.complete:
            where, tokens = "a seeded sample of tokens", self.sample.kept
            chosen = {"sample": tokens, "sample_seed": self.context.seed}
        halves = HalfSamples(self.context, self.sample) if self.context.bootstrap else None
        if halves is not None:
            chosen |= halves.chosen
        if name in SPECTRAL:
            return self._spectral(name, tokens, where, chosen, halves)
        value = self._on_rows(name, slice(None)) if on_rows else self._on_sums(name)
        return Estimate(
            value,
            tokens,
            f"centred states of {where}",
            chosen,
            replicates=None if halves is None else self._pairwise_replicates(name, halves),
            resampling=None if halves is None else halves.resampling,
        )

    def _spectral(
        self, name: str, tokens: int, where: str, chosen: dict[str, int | float | str], halves: HalfSamples | None
    ) -> Estimate:
        """Pick one of the measures that were read off the spectra together."""
        which = self.spectral.index(name)
        values = [np.array(found)[:, which] for found in self.spectra]
        if name.startswith("alpha_req"):
            for axis, suffix in zip(self.axes, ("", "_other"), strict=False):
                first, last = fit_ranks(min(axis.width, tokens - 1))
                chosen |= {f"fit_from{suffix}": first, f"fit_to{suffix}": last}
        replicates = [] if halves is None else [found[:, :, which] for found in self._spectra_of(halves)]
        return Estimate.of_layers(
            values,
            tokens,
            f"eigenvalues of the centred covariance of {where}",
            chosen,
            replicates=replicates,
            resampling=None if halves is None else halves.resampling,
        )

    def _plan(self) -> None:
        """Choose between the rows held and sums, and how many layers to take at a time."""
        if self.held:
            return
        budget = self.context.memory // 4
        shape = [len(axis) for axis in self.axes], [axis.width for axis in self.axes]
        if self.wanted & PAIRWISE and CrossCovariance.bytes_needed(*shape, pairs=True) <= budget:
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
        found: list[list[float]] = []
        for layer, spectrum in enumerate(spectra, start=first):
            with self.axes[side].layer_context(layer):
                found.append([SPECTRAL[name](spectrum) for name in self.spectral])
        return found

    def _spectra_of(self, halves: HalfSamples) -> list[np.ndarray]:
        """Compute all spectral measures asked for on each half, once for all of them."""
        if self._halved is None:
            self._halved = [
                np.array([self._read_off(side, self._spectra_of_rows(side, rows)) for rows in halves.rows()])
                for side in range(len(self.axes))
            ]
        return self._halved

    def _on_sums(self, name: str) -> Float[np.ndarray, "layer layer_other"]:
        """Compare all pairs of layers by sums of products of features."""
        sums = self.sums
        assert sums is not None
        size = _SIZES[name]
        own = [
            [size(sums.within(layer, side) / sums.count) for layer in range(len(axis))]
            for side, axis in enumerate(self.axes)
        ]
        compare = _COMPARISONS[name]
        return all_pairs(
            (len(self.context.first), len(self.context.other)),
            lambda layer, other: compare(sums.between(layer, other) / sums.count, own[0][layer], own[-1][other]),
            MEASURES[name].self_value if len(self.axes) == 1 else None,
        )

    def _on_rows(self, name: str, chosen: slice | np.ndarray) -> Float[np.ndarray, "layer layer_other"]:
        """Compare all pairs of layers on some of the rows held."""
        states = [self.sample.hidden(side)[chosen] for side in range(len(self.axes))]
        if name == "cka_biased":
            aligned: np.ndarray = self._aligned(states, np.zeros(len(states[0]), np.int64), np.ones((1, 1)))[0]
            return aligned
        tokens, compare = len(states[0]), _COMPARISONS[name]
        clouds = [[Cloud(hidden[:, layer]) for layer in range(hidden.shape[1])] for hidden in states]
        own = [[cloud.size / tokens for cloud in side] for side in clouds]
        return all_pairs(
            (len(clouds[0]), len(clouds[-1])),
            lambda layer, other: compare(
                clouds[0][layer].cross(clouds[-1][other]) / tokens, own[0][layer], own[-1][other]
            ),
            MEASURES[name].self_value if len(states) == 1 else None,
        )

    def _aligned(
        self, states: list[torch.Tensor], group: np.ndarray, masks: np.ndarray
    ) -> Float[np.ndarray, "selection layer layer_other"]:
        """Compute the biased alignment of the tokens of each selection of groups."""
        sums = GramSums(states[0], states[1] if len(states) > 1 else None, group, masks.shape[1])
        return sums.criterion(masks, debiased=False).alignment()

    def _pairwise_replicates(self, name: str, halves: HalfSamples) -> Float[np.ndarray, "replicate layer layer_other"]:
        """Compare all pairs of layers on each half of the rows held."""
        if name == "cka_biased":
            states = [self.sample.hidden(side) for side in range(len(self.axes))]
            return self._aligned(states, halves.group, halves.masks)
        return np.stack([self._on_rows(name, rows) for rows in halves.rows()])


def _aligned_features(cross: torch.Tensor, size: float, size_other: float) -> float:
    return float(cross.square().sum()) / (size * size_other)


def _singular_values(covariance: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return those of states whose features are multiplied by the weights."""
    values: torch.Tensor = torch.linalg.eigvalsh(covariance * weights[:, None] * weights)
    return values.clamp(min=0).sqrt()


def _trace(covariance: torch.Tensor) -> float:
    return float(covariance.trace())


def _norm(covariance: torch.Tensor) -> float:
    return float(covariance.norm())


_SIZES: dict[str, Callable[[torch.Tensor], float]] = {
    "cka_biased": _norm,
    "procrustes": _trace,
    "procrustes_unnormalized": _trace,
    "shape_angle": _trace,
}
_COMPARISONS: dict[str, Callable[[torch.Tensor, float, float], float]] = {
    "cka_biased": _aligned_features,
    "procrustes": procrustes_distance,
    "procrustes_unnormalized": rotation_distance,
    "shape_angle": shape_angle,
}
