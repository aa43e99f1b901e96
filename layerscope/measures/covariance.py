"""Measures of clouds of tokens as wholes: biased CKA, Procrustes, participation ratio, effective rank.

Where all tokens are held they come from the rows; else from sums of products of features, and where these are too large for
the memory given, from the seeded sample of rows. This module knows rows and sums; it knows no labels and no files.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from jaxtyping import Float

from layerscope.measures.all_pairs import all_pairs
from layerscope.measures.bootstrap import HALVES, deal_groups, half_masks, recentred
from layerscope.measures.catalogue import MEASURES
from layerscope.measures.clouds import Cloud
from layerscope.measures.cross_covariance import CrossCovariance
from layerscope.measures.family import Family
from layerscope.measures.gram import GramSums
from layerscope.measures.row_sample import RowSample
from layerscope.measures.spectra import effective_rank, participation_ratio, procrustes_distance, shape_angle
from layerscope.measures.study import Estimate, Study
from layerscope.states import StateRows

__all__ = ["Covariance"]

PAIRWISE = frozenset({"cka_biased", "procrustes", "shape_angle"})
SPECTRAL: dict[str, Callable[[torch.Tensor], float]] = {
    "participation_ratio": participation_ratio,
    "effective_rank": effective_rank,
}


class Covariance(Family):
    """Clouds of tokens compared as wholes.

    A quarter of the memory may go to the products between layers; where they need more, pairs of layers are compared on the
    sample. So may the products within layers; where all layers need more, they are taken in groups, a pass each, or, where
    rows are seen only once, from the sample.

    Parameters
    ----------
    study
        What is analysed.
    sample
        Rows held.
    wanted
        Names of the measures that will be asked for.
    """

    def __init__(self, study: Study, sample: RowSample, wanted: frozenset[str]) -> None:
        super().__init__(study, sample, wanted)
        self.axes = [axis for axis in (study.first, study.second) if axis is not None]
        self.spectra: dict[str, list[list[float]]] = {
            name: [[] for _ in self.axes] for name in SPECTRAL if name in wanted
        }
        self.held = study.tokens is not None and study.tokens <= sample.size
        self.sums: CrossCovariance | None = None
        self.turns: list[slice] = [slice(None)]
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

    def fresh(self, sample: RowSample) -> "Covariance":
        """Make an empty accumulator for the same group of layers."""
        part = Covariance(self.study, sample, self.wanted)
        part.turns = self.turns
        part.sums = None if self.sums is None else self.sums.fresh()
        return part

    def end_pass(self) -> bool:
        """Compute the spectra of the layers at hand; say whether other layers remain."""
        if self.sums is not None:
            self.sums.flush()
        for name, values in self.spectra.items():
            for side, found in enumerate(values):
                found += [SPECTRAL[name](covariance) for covariance in self._covariances(side)]
        if len(self.turns) == 1:
            return False
        self.turns = self.turns[1:]
        self.sums = self._empty(pairs=False)
        return True

    def estimate(self, name: str) -> Estimate:
        """Compute one of the family's measures."""
        replicates, chosen, interval = self._replicates(name)
        on_rows = self.sums is None or (name in PAIRWISE and not self.sums.pairs)
        where, tokens = "all tokens", self.sample.seen
        if on_rows and not self.sample.complete:
            where, tokens = "a seeded sample of tokens", self.sample.kept
            chosen |= {"sample": tokens, "sample_seed": self.study.seed}
        if name in SPECTRAL:
            values = [np.array(found) for found in self.spectra[name]]
        else:
            values = [self._on_rows(name, slice(None)) if on_rows else self._on_sums(name)]
        shifted = [recentred(found, value) for found, value in zip(replicates, values, strict=False)]
        return Estimate(
            values[0],
            tokens,
            f"{'eigenvalues of the centred covariance' if name in SPECTRAL else 'centred states'} of {where}",
            chosen,
            value_other=values[1] if len(values) > 1 else None,
            replicates=shifted[0] if shifted else None,
            replicates_other=shifted[1] if len(shifted) > 1 else None,
            interval=interval,
        )

    def _plan(self) -> None:
        """Choose between the rows held and sums, and how many layers to take at a time."""
        if self.held:
            return
        budget = self.study.memory // 4
        shape = [len(axis) for axis in self.axes], [axis.width for axis in self.axes]
        if self.wanted & PAIRWISE and CrossCovariance.bytes_needed(*shape, pairs=True) <= budget:
            self.sums = self._empty(pairs=True)
        elif self.spectra:
            layers = max(len(axis) for axis in self.axes)
            at_once = int(budget // (8 * sum(axis.width**2 for axis in self.axes)))
            if at_once < layers and self.study.rows is None:
                return
            at_once = max(1, at_once)
            self.turns = [slice(start, start + at_once) for start in range(0, layers, at_once)]
            self.sums = self._empty(pairs=False)

    def _empty(self, *, pairs: bool) -> CrossCovariance:
        layers = [len(range(len(axis))[self.turns[0]]) for axis in self.axes]
        return CrossCovariance(layers, [axis.width for axis in self.axes], self.study.dtype, pairs=pairs)

    def _covariances(self, side: int) -> Iterator[Float[torch.Tensor, "n n"]]:
        """Give each layer's covariance, of those at hand."""
        if self.sums is not None:
            yield from (self.sums.within(layer, side) for layer in range(self.sums.layers[side]))
        else:
            states = self.sample.hidden(side)
            yield from (Cloud(states[:, layer]).covariance() for layer in range(states.shape[1]))

    def _on_sums(self, name: str) -> Float[np.ndarray, "layer layer_other"]:
        """Compare all pairs of layers by sums of products of features."""
        sums = self.sums
        assert sums is not None
        size = _SIZES[name]
        own = [[size(sums.within(layer, side)) for layer in range(len(axis))] for side, axis in enumerate(self.axes)]
        compare = _COMPARISONS[name]
        return all_pairs(
            (len(self.study.first), len(self.study.other)),
            lambda layer, other: compare(sums.between(layer, other), own[0][layer], own[-1][other]),
            MEASURES[name].self_value if len(self.axes) == 1 else None,
        )

    def _on_rows(self, name: str, chosen: slice | np.ndarray) -> Float[np.ndarray, "layer layer_other"]:
        """Compare all pairs of layers on some of the rows held."""
        states = [self.sample.hidden(side)[chosen] for side in range(len(self.axes))]
        if name == "cka_biased":
            aligned: np.ndarray = self._aligned(states, np.zeros(len(states[0]), np.int64), np.ones((1, 1)))[0]
            return aligned
        clouds = [[Cloud(hidden[:, layer]) for layer in range(hidden.shape[1])] for hidden in states]
        return all_pairs(
            (len(clouds[0]), len(clouds[-1])),
            lambda layer, other: _COMPARISONS[name](
                clouds[0][layer].cross(clouds[-1][other]), clouds[0][layer].size, clouds[-1][other].size
            ),
            MEASURES[name].self_value if len(states) == 1 else None,
        )

    def _aligned(
        self, states: list[torch.Tensor], group: np.ndarray, masks: np.ndarray
    ) -> Float[np.ndarray, "selection layer layer_other"]:
        """Compute the biased alignment of the tokens of each selection of groups."""
        sums = GramSums(states[0], states[1] if len(states) > 1 else None, group, masks.shape[1])
        found = sums.criterion(masks, debiased=False).alignment()
        if len(states) == 1:
            np.einsum("sll->sl", found)[...] = 1.0
        return found

    def _replicates(self, name: str) -> tuple[list[np.ndarray], dict[str, int | float | str], str]:
        """Compute the measure on random halves of the sequences of the rows held."""
        if not self.study.bootstrap:
            return [], {}, ""
        group, groups = deal_groups(self.sample.sequence_index, self.study.seed)
        masks = half_masks(groups, self.study.bootstrap, self.study.seed)
        sides = range(len(self.axes))
        if name == "cka_biased":
            found = [self._aligned([self.sample.hidden(side) for side in sides], group, masks)]
        elif name in PAIRWISE:
            found = [np.stack([self._on_rows(name, np.flatnonzero(mask[group])) for mask in masks])]
        else:
            found = [
                np.array([self._spectrum(name, side, np.flatnonzero(mask[group])) for mask in masks]) for side in sides
            ]
        chosen: dict[str, int | float | str] = {} if self.sample.complete else {"interval_sample": self.sample.kept}
        return found, chosen, HALVES.format(groups=groups)

    def _spectrum(self, name: str, side: int, chosen: np.ndarray) -> list[float]:
        states = self.sample.hidden(side)[chosen]
        return [SPECTRAL[name](Cloud(states[:, layer]).covariance()) for layer in range(states.shape[1])]


def _aligned_features(cross: torch.Tensor, size: float, size_other: float) -> float:
    return float(cross.square().sum()) / (size * size_other)


def _trace(covariance: torch.Tensor) -> float:
    return float(covariance.trace())


def _norm(covariance: torch.Tensor) -> float:
    return float(covariance.norm())


_SIZES: dict[str, Callable[[torch.Tensor], float]] = {
    "cka_biased": _norm,
    "procrustes": _trace,
    "shape_angle": _trace,
}
_COMPARISONS: dict[str, Callable[[torch.Tensor, float, float], float]] = {
    "cka_biased": _aligned_features,
    "procrustes": procrustes_distance,
    "shape_angle": shape_angle,
}
