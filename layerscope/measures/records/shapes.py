"""Measures of the shapes of two clouds of tokens: CKA and Procrustes distances."""

from math import inf, pi

from layerscope.measures.record import CostClass, Invariance, Kind, Measure
from layerscope.measures.records.wording import (
    COVARIANCE,
    DEBIASED_CKA,
    HALVES,
    ONE_PASS,
    ROTATIONS,
    SHAPES,
    SHARED_SAMPLE,
)

__all__ = ["RECORDS"]

RECORDS = (
    Measure(
        name="cka",
        what="similarity structure",
        cost_class=CostClass.MODERATE,
        long_name="linear centred kernel alignment, debiased",
        kind=Kind.PAIRWISE,
        definition=(
            r"$\mathrm{HSIC}_1(K,L)/\sqrt{\mathrm{HSIC}_1(K,K)\,\mathrm{HSIC}_1(L,L)}$ with $K=XX'$, $L=YY'$, and, their "
            r"diagonals set to zero, $\mathrm{HSIC}_1(K,L)=\frac{1}{n(n-3)}\left[\mathrm{tr}(\tilde K\tilde L)+"
            r"\frac{1'\tilde K1\,1'\tilde L1}{(n-1)(n-2)}-\frac{2}{n-2}1'\tilde K\tilde L1\right]$ (Song et al. 2012, eq. 5). "
            r"Up to 4,096 tokens on all of them; above, numerator and both denominators are means over minibatches of about "
            r"1,024 tokens of a seeded permutation, divided once. It may be slightly negative; it is never clamped"
        ),
        low=-1.0,
        high=1.0,
        symmetric=True,
        self_value=1.0,
        invariances=SHAPES,
        least_tokens=4,
        same_width=False,
        needs_variation=True,
        on_sample=False,
        passes="1 up to 4,096 tokens; above, as many as the minibatches need at the memory given",
        memory="rows of at least one minibatch (1,024 tokens; up to 4,096 where it is exact), as many as the budget holds",
        cost="tokens × 1,024 × layers × (features + layers) products (tokens² up to 4,096)",
        bootstrap=HALVES,
        reference="Nguyen et al. 2021, arXiv 2010.15327; HSIC_1: Song et al. 2012, JMLR 13",
        cites=("nguyen2021wide", "song2012feature"),
        estimator=DEBIASED_CKA,
    ),
    Measure(
        name="cka_biased",
        what="CKA without debiasing",
        cost_class=CostClass.MODERATE,
        long_name="linear centred kernel alignment",
        kind=Kind.PAIRWISE,
        definition=(
            r"$\|Y_c'X_c\|_F^2/(\|X_c'X_c\|_F\,\|Y_c'Y_c\|_F)$ on centred states; high by chance when tokens are not many "
            r"more than features"
        ),
        low=0.0,
        high=1.0,
        symmetric=True,
        self_value=1.0,
        invariances=SHAPES,
        least_tokens=2,
        same_width=False,
        needs_variation=True,
        on_sample=True,
        passes=ONE_PASS,
        memory="layers² / 2 × features² × 8 bytes up to the budget; beyond it a seeded sample of up to 4,096 tokens",
        cost="layers² × features² products a token, or tokens² × layers × features, whichever is less",
        bootstrap=f"{HALVES}; {SHARED_SAMPLE}",
        reference="Kornblith et al. 2019, arXiv 1905.00414",
        cites=("kornblith2019similarity",),
        estimator=COVARIANCE,
    ),
    Measure(
        name="procrustes",
        what="shape up to rotation",
        cost_class=CostClass.EXPENSIVE,
        long_name="orthogonal Procrustes distance",
        kind=Kind.PAIRWISE,
        definition=(
            r"$\min_{Q'Q=1}\|X_cQ-Y_c\|_F^2=2-2\|X_c'Y_c\|_*$, both centred and divided by their Frobenius norm; states of "
            r"fewer features are padded with zeros"
        ),
        low=0.0,
        high=2.0,
        symmetric=True,
        self_value=0.0,
        invariances=SHAPES,
        least_tokens=2,
        same_width=False,
        needs_variation=True,
        on_sample=True,
        passes=ONE_PASS,
        memory="as cka_biased, and shared with it",
        cost="as cka_biased, and one singular value decomposition of features × features a pair",
        bootstrap=f"{HALVES}; {SHARED_SAMPLE}; every replicate costs all the decompositions again",
        reference="Ding et al. 2021, arXiv 2108.01661",
        cites=("ding2021grounding",),
        estimator=COVARIANCE,
    ),
    Measure(
        name="procrustes_unnormalized",
        what="shape and scale",
        cost_class=CostClass.EXPENSIVE,
        long_name="orthogonal Procrustes distance, not normalised",
        kind=Kind.PAIRWISE,
        definition=(
            r"$\sqrt{\min_{Q'Q=1}\|X_cQ-Y_c\|_F^2/n}$, the root mean square over tokens of the distance that is left after the "
            r"best rotation, both centred and neither divided by its norm, so that a growing stream counts; states of fewer "
            r"features are padded with zeros"
        ),
        low=0.0,
        high=inf,
        symmetric=True,
        self_value=0.0,
        invariances=ROTATIONS | {Invariance.TRANSLATION},
        least_tokens=2,
        same_width=False,
        needs_variation=True,
        on_sample=True,
        passes=ONE_PASS,
        memory="as cka_biased, and shared with it",
        cost="as procrustes",
        bootstrap=f"{HALVES}; {SHARED_SAMPLE}; every replicate costs all the decompositions again",
        reference="Schönemann 1966, Psychometrika 31; Ding et al. 2021, arXiv 2108.01661",
        cites=("schonemann1966generalized", "ding2021grounding"),
        estimator=COVARIANCE,
        units="units of the states",
    ),
    Measure(
        name="shape_angle",
        what="Procrustes as an angle",
        cost_class=CostClass.EXPENSIVE,
        long_name="angular shape distance",
        kind=Kind.PAIRWISE,
        definition=(
            r"$\arccos\|X_c'Y_c\|_*$, both centred and divided by their Frobenius norm: the angle left after the best rotation, "
            r"and a metric. The Procrustes distance is $2-2\cos$ of it. States of fewer features are padded with zeros"
        ),
        low=0.0,
        high=pi / 2,
        symmetric=True,
        self_value=0.0,
        invariances=SHAPES,
        least_tokens=2,
        same_width=False,
        needs_variation=True,
        on_sample=True,
        passes=ONE_PASS,
        memory="as cka_biased, and shared with it",
        cost="as procrustes",
        bootstrap=f"{HALVES}; {SHARED_SAMPLE}; every replicate costs all the decompositions again",
        reference="Williams et al. 2021, arXiv 2110.14739",
        cites=("williams2021shape",),
        estimator=COVARIANCE,
        units="radians",
    ),
)
