"""Measures of the geometry of one layer's states: directions, neighbours, paths."""

from math import inf, pi

from layerscope.measures.record import CostClass, Invariance
from layerscope.measures.records.wording import (
    ANISOTROPY,
    CURVATURE,
    FREE,
    HALVES,
    INTRINSIC_DIMENSION,
    ONE_PASS,
    ROTATIONS,
    SHAPES,
    SHARED_SAMPLE,
    per_layer,
)

__all__ = ["RECORDS"]

RECORDS = (
    per_layer(
        name="anisotropy",
        what="cosine of random tokens",
        cost_class=CostClass.CHEAP,
        long_name="anisotropy",
        definition=(
            r"mean cosine of the states of two different tokens, $\frac1{n(n-1)}\sum_{s\ne t}\cos(x_s,x_t)=(|\sum_tu_t|^2-n)/"
            r"(n(n-1))$ with $u_t=x_t/|x_t|$, over all pairs of tokens. All-zero states are left out"
        ),
        low=-1.0,
        high=1.0,
        invariances=ROTATIONS | {Invariance.SCALE, Invariance.TOKEN_SCALE},
        least_tokens=2,
        needs_variation=False,
        on_sample=False,
        passes=ONE_PASS,
        memory="layers × features × 8 bytes; with a bootstrap 64 times as much, and a seeded sample of up to 4,096 tokens",
        cost="tokens × layers × features",
        bootstrap=f"{HALVES}; {SHARED_SAMPLE}; free",
        reference="Ethayarajh 2019, arXiv 1909.00512",
        cites=("ethayarajh2019contextual",),
        estimator=ANISOTROPY,
    ),
    per_layer(
        name="two_nn",
        what="intrinsic dimension",
        cost_class=CostClass.MODERATE,
        long_name="intrinsic dimension from two nearest neighbours (TwoNN)",
        definition=(
            r"with $\mu_t$ the distance of token t to its second nearest neighbour over that to its nearest, and F their "
            r"empirical distribution function ($i/n$ for the i-th smallest): the slope of the least-squares line through the "
            r"origin of $-\ln(1-F(\mu))$ on $\ln\mu$, without the tenth of the largest μ. Tokens whose states are equal within "
            r"rounding at a layer count as one there (repeated tokens, shared prompts); fewer than three different states are "
            r"refused"
        ),
        low=0.0,
        high=inf,
        invariances=SHAPES,
        least_tokens=3,
        needs_variation=True,
        on_sample=True,
        passes=ONE_PASS,
        memory="a seeded sample of up to 4,096 tokens, all where there are no more; of one layer tokens × features × 8 bytes × 3",
        cost="tokens² × layers × features products in float64, of at most 4,096 tokens; neighbours once a layer",
        bootstrap=f"{HALVES}; {SHARED_SAMPLE}; every replicate costs the neighbours again, a quarter of the whole",
        reference="Facco et al. 2017, Scientific Reports 7:12140",
        cites=("facco2017estimating",),
        estimator=INTRINSIC_DIMENSION,
        units="dimensions",
    ),
    per_layer(
        name="mle_dimension",
        what="dimension by likelihood",
        cost_class=CostClass.MODERATE,
        long_name="intrinsic dimension by maximum likelihood",
        definition=(
            r"the inverse of the mean, over tokens and over $j<10$, of $\ln(T_{10}/T_j)$, with $T_j$ the distance of a token to "
            r"its j-th nearest neighbour: the estimator of Levina and Bickel with the averages of MacKay and Ghahramani. Tokens "
            r"whose states are equal count as one; fewer than eleven different states are refused"
        ),
        low=0.0,
        high=inf,
        invariances=SHAPES,
        least_tokens=11,
        needs_variation=True,
        on_sample=True,
        passes=ONE_PASS,
        memory="as two_nn",
        cost="as two_nn",
        bootstrap=f"{HALVES}; {SHARED_SAMPLE}; every replicate costs the neighbours again, a quarter of the whole",
        reference="Levina & Bickel 2004, NeurIPS 17; MacKay & Ghahramani 2005",
        cites=("levina2004maximum", "mackay2005comments"),
        estimator=INTRINSIC_DIMENSION,
        units="dimensions",
    ),
    per_layer(
        name="curvature",
        what="turning between tokens",
        cost_class=CostClass.CHEAP,
        long_name="curvature over positions",
        definition=(
            r"the angle between successive steps $v_t=x_{t+1}-x_t$ and $v_{t+1}$ along a sequence, $\arccos\frac{v_t\cdot "
            r"v_{t+1}}{|v_t||v_{t+1}|}$: the mean over its positions, then over sequences. Only tokens at three consecutive "
            r"positions count, so gaps are left out (`--tokens sample:K`; none at all is refused), and so are steps of no "
            r"length but rounding"
        ),
        low=0.0,
        high=pi,
        invariances=SHAPES,
        least_tokens=3,
        needs_variation=True,
        on_sample=False,
        passes=ONE_PASS,
        memory=(
            "sequences × layers × 16 bytes, and the states of two tokens at each end of the rows so far: two in total for rows "
            "in order, up to four a sequence otherwise"
        ),
        cost="tokens × layers × features, in float64",
        bootstrap=FREE,
        reference="Hosseini & Fedorenko 2023, arXiv 2311.04930; Hénaff et al. 2019, Nature Neuroscience 22",
        cites=("hosseini2023large", "henaff2019perceptual"),
        estimator=CURVATURE,
        units="radians",
    ),
)
