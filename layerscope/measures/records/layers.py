"""Measures of the states of one layer: spread and size."""

from math import inf

from layerscope.measures.record import CostClass, Invariance
from layerscope.measures.records.wording import FREE, MEANS, ONE_PASS, PRODUCTS, ROTATIONS, per_layer

__all__ = ["RECORDS"]

RECORDS = (
    per_layer(
        name="variance",
        what="variance per feature",
        cost_class=CostClass.CHEAP,
        long_name="variance over tokens",
        definition=r"mean over features f of the variance over tokens (ddof 0): $\frac1p\sum_f\frac1n\sum_t(x_{tf}-\bar x_f)^2$",
        low=0.0,
        high=inf,
        invariances=ROTATIONS | {Invariance.TRANSLATION},
        least_tokens=1,
        needs_variation=False,
        on_sample=False,
        passes=ONE_PASS,
        memory="layers × features × 16 bytes; with a bootstrap min(sequences, replicates) × layers × features × 8 bytes",
        cost="features a token",
        bootstrap="sequences drawn with replacement, each replicate about its own mean: exact",
        reference="Sun et al. 2024, arXiv 2407.09298 (its Fig. 15 leaves the definition open)",
        cites=("sun2024painters",),
        estimator=MEANS,
        units="squared units of the states",
    ),
    per_layer(
        name="norm",
        what="mean length of states",
        cost_class=CostClass.CHEAP,
        long_name="mean length of the states",
        definition=r"mean over tokens of the Euclidean norm: $\frac1n\sum_t|x_t|$",
        low=0.0,
        high=inf,
        invariances=ROTATIONS,
        least_tokens=1,
        needs_variation=False,
        on_sample=False,
        passes=ONE_PASS,
        memory="sequences × layers × 8 bytes",
        cost="none in addition to cosine",
        bootstrap=FREE,
        reference="the field's default",
        cites=(),
        estimator=PRODUCTS,
        units="units of the states",
    ),
    per_layer(
        name="max_abs",
        what="largest absolute value",
        cost_class=CostClass.CHEAP,
        long_name="largest absolute value",
        definition=r"$\max_{t,f}|x_{tf}|$",
        low=0.0,
        high=inf,
        invariances=frozenset({Invariance.PERMUTATION}),
        least_tokens=1,
        needs_variation=False,
        on_sample=False,
        passes=ONE_PASS,
        memory="layers × features × 8 bytes",
        cost="features a token",
        bootstrap="none: the bootstrap of a maximum is not consistent",
        reference="Sun et al. 2024, Massive Activations, arXiv 2402.17762",
        cites=("sun2024massive",),
        estimator=PRODUCTS,
        units="units of the states",
    ),
)
