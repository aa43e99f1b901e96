"""Texts and values shared by several records: invariances, costs, methods of the intervals, estimators, common fields."""

from functools import partial

from layerscope.measures.record import Invariance, Kind, Measure

__all__ = [
    "ANGLES",
    "ANISOTROPY",
    "CONTRIBUTIONS",
    "COVARIANCE",
    "CURVATURE",
    "DEBIASED_CKA",
    "FREE",
    "HALVES",
    "INTRINSIC_DIMENSION",
    "MEANS",
    "ONE_PASS",
    "PRODUCTS",
    "ROTATIONS",
    "SAMPLED",
    "SEQUENCE_SUMS",
    "SHAPES",
    "SHARED_SAMPLE",
    "UP_TO_A_SAMPLE",
    "WHOLE_SEQUENCES",
    "per_layer",
    "sampled_pair",
]

ANGLES = frozenset({Invariance.COMMON_ROTATION, Invariance.SCALE, Invariance.TOKEN_SCALE})
ROTATIONS = frozenset({Invariance.ROTATION, Invariance.COMMON_ROTATION, Invariance.PERMUTATION})
SHAPES = ROTATIONS | {Invariance.SCALE, Invariance.TRANSLATION}

SEQUENCE_SUMS = "sequences × layers² × 8 bytes × 3, and one chunk"
ONE_PASS = "1"
FREE = "sequences drawn with replacement, exact from the sums of each sequence: free"
HALVES = (
    "half-samples: sequences dealt into at most 64 groups, each replicate a random half of them, shifted so that their "
    "mean is the value"
)
SHARED_SAMPLE = "above 4,096 tokens the replicates use a seeded sample of 4,096 tokens"
UP_TO_A_SAMPLE = "1, which fills a seeded sample of up to 4,096 tokens; the measure is of the sample"

PRODUCTS = "layerscope.measures.estimators.products:Products"
MEANS = "layerscope.measures.estimators.means:Means"
DEBIASED_CKA = "layerscope.measures.estimators.debiased_cka:DebiasedCka"
COVARIANCE = "layerscope.measures.estimators.covariance:Covariance"
SAMPLED = "layerscope.measures.estimators.sampled:Sampled"
ANISOTROPY = "layerscope.measures.estimators.anisotropy:Anisotropy"
INTRINSIC_DIMENSION = "layerscope.measures.estimators.sampled_layers:SampledLayers"
CURVATURE = "layerscope.measures.estimators.curvature:Curvature"
CONTRIBUTIONS = "layerscope.measures.estimators.contributions:Contributions"
WHOLE_SEQUENCES = "layerscope.measures.estimators.whole_sequences:WholeSequences"

per_layer = partial(Measure, kind=Kind.PER_LAYER, symmetric=False, self_value=None, same_width=True)
"""Make the record of a measure of one layer, with the common fields filled in."""

sampled_pair = partial(
    Measure, kind=Kind.PAIRWISE, same_width=False, on_sample=True, passes=UP_TO_A_SAMPLE, estimator=SAMPLED
)
"""Make the record of a measure of two layers that needs the tokens themselves, with the common fields filled in."""
