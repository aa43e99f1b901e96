"""Estimator of the measures of pairs of layers that need the tokens themselves, on a seeded sample of up to 4,096.

Sums over tokens cannot give ranks, neighbours, distances or singular vectors. The table `COMPARISONS` has the comparison of
each measure.
"""

from typing import ClassVar

import numpy as np

from layerscope.measures.accumulators.row_sample import RowSample
from layerscope.measures.catalogue import MEASURES
from layerscope.measures.comparisons.comparison import Comparison, Pairs
from layerscope.measures.comparisons.cross_validation import CrossValidatedPrediction
from layerscope.measures.comparisons.dissimilarities import KENDALL_TOKENS, Vectors
from layerscope.measures.comparisons.distance_kernels import WIDTH, DistanceCorrelation, GaussianCka
from layerscope.measures.comparisons.neighbour_kernels import NeighbourKernels
from layerscope.measures.comparisons.neighbours import NEIGHBOUR_SCORES, Neighbours
from layerscope.measures.comparisons.token_sample import TokenSample
from layerscope.measures.context import AnalysisContext
from layerscope.measures.estimate import Estimate, describe_sample
from layerscope.measures.estimators.estimator import Estimator
from layerscope.measures.estimators.half_samples import HalfSamples
from layerscope.measures.kernels.canonical import (
    basis_of,
    canonical_correlation,
    canonical_r2,
    centered_basis,
    eigenspace_overlap,
    leading_basis,
    linear_r2,
    projected_correlation,
    require_spare_directions,
    smaller_projected_correlation,
)
from layerscope.measures.kernels.concentricity import concentricity
from layerscope.measures.kernels.dissimilarities import (
    centered_ranks,
    centered_values,
    kendall,
    nonzero_values,
    ranked,
)
from layerscope.measures.kernels.features import (
    matched_one_to_one,
    matched_to_best,
    permutation_distance,
    standard_features,
    unit_cloud,
)
from layerscope.measures.kernels.undefined import undefined_context
from layerscope.measures.kernels.uniformity import uniformity
from layerscope.states import StateRows

__all__ = ["COMPARISONS", "Sampled"]

_CANONICAL = "canonical correlations of the directions"


def _difference(first: float, second: float) -> float:
    return abs(first - second)


COMPARISONS: dict[str, Comparison] = {
    "cka_rbf": GaussianCka(
        "HSIC_1 of Song et al. 2012 (eq. 5) of a Gaussian kernel of distances", width_of_median=WIDTH
    ),
    "distance_correlation": DistanceCorrelation("correlation of doubly centred distances"),
    "rsa": Vectors(centered_ranks, "Spearman's correlation of 1 - Pearson's correlation of tokens"),
    "rsa_kendall": Pairs(
        ranked, kendall, "Kendall's tau-b of 1 - Pearson's correlation of tokens", most=KENDALL_TOKENS
    ),
    "rsa_pearson": Vectors(centered_values, "Pearson's correlation of 1 - Pearson's correlation of tokens"),
    "rsa_cosine": Vectors(nonzero_values, "cosine of 1 - Pearson's correlation of tokens"),
    "cca_mean": Pairs(centered_basis, canonical_correlation, _CANONICAL, check=require_spare_directions),
    "cca_r2": Pairs(centered_basis, canonical_r2, _CANONICAL, check=require_spare_directions),
    "svcca": Pairs(
        centered_basis, canonical_correlation, f"{_CANONICAL} holding 99 % of the variance", check=leading_basis
    ),
    "pwcca": Pairs(centered_basis, projected_correlation, f"weighted {_CANONICAL}", check=require_spare_directions),
    "pwcca_smaller": Pairs(
        centered_basis,
        smaller_projected_correlation,
        f"weighted {_CANONICAL} of the smaller layer",
        check=require_spare_directions,
    ),
    "linear_r2": Pairs(
        centered_basis, linear_r2, "variance of layer predicted from layer_other", check=require_spare_directions
    ),
    "linear_r2_cv": CrossValidatedPrediction(),
    "eigenspace_overlap": Pairs(
        basis_of, eigenspace_overlap, "overlap of the spans of features", check=require_spare_directions
    ),
    **{name: Neighbours(name) for name in NEIGHBOUR_SCORES},
    "cknna_unbiased": NeighbourKernels(),
    "correlation_match_soft": Pairs(standard_features, matched_to_best, "features with their best match"),
    "correlation_match_hard": Pairs(standard_features, matched_one_to_one, "features matched one to one"),
    "permutation_procrustes": Pairs(
        unit_cloud, permutation_distance, "features matched one to one, distance of the rest"
    ),
    "concentricity_difference": Pairs(concentricity, _difference, "difference of the mean cosine with the mean state"),
    "uniformity_difference": Pairs(uniformity, _difference, "difference of uniformity on the sphere"),
}
"""The comparison that computes each measure."""


class Sampled(Estimator):
    """Comparisons of pairs of layers on tokens in memory.

    Each layer is prepared once for all pairs and all measures that need the same preparation, which is freed after the last of
    them. A comparison that cannot use all tokens of the sample gets those of lowest priority: a smaller seeded sample.
    """

    kernels: ClassVar[dict[str, Comparison]] = COMPARISONS

    def __init__(self, context: AnalysisContext, sample: RowSample, wanted: frozenset[str]) -> None:
        super().__init__(context, sample, wanted)
        self._left = wanted & COMPARISONS.keys()
        self._samples: dict[int, TokenSample] = {}

    def update(self, rows: StateRows, other: StateRows | None) -> None:
        """Do nothing: the engine fills the sample."""

    def merge(self, part: "Sampled") -> None:
        """Do nothing."""

    def compute(self, name: str, kernel: Comparison) -> Estimate:
        """Compare all pairs of layers."""
        measure = MEASURES[name]
        rows = self.sample.lowest(kernel.most_tokens(self.context))
        tokens = self._tokens(rows)
        value = kernel.matrix(tokens, measure)
        replicates, resampling = None, None
        if self.context.options.bootstrap:
            halves = HalfSamples(self.context, self.sample, rows)
            with undefined_context(part="on half of the sequences, which an interval takes"):
                replicates = kernel.halves(tokens, measure, halves.group, halves.masks)
            resampling = halves.resampling
        self._free(name)
        where, sample = describe_sample(len(tokens), self.sample.seen, self.context.options.seed)
        return Estimate(
            value,
            len(tokens),
            f"{kernel.description}, of {where}",
            kernel.details(tokens) | sample,
            replicates=replicates,
            resampling=resampling,
        )

    def _tokens(self, rows: np.ndarray) -> TokenSample:
        """Return these tokens of the sample; the same object for the same number of tokens."""
        if len(rows) not in self._samples:
            axes = self.context.axes
            states = [self.sample.settled(side) for side in range(len(axes))]
            held = TokenSample(states, axes, self.context.epsilon, self.sample.sequence_index)
            self._samples[len(rows)] = held if len(rows) == len(held) else held.select(rows)
        return self._samples[len(rows)]

    def _free(self, name: str) -> None:
        """Free the preparations that no remaining measure needs."""
        self._left -= {name}
        for held in self._samples.values():
            held.keep(COMPARISONS[left].prepare for left in self._left)
