"""Single features matched, and single numbers of two layers compared."""

from math import inf

from layerscope.measures.record import CostClass, Invariance, Kind, Measure
from layerscope.measures.records.wording import FREE, HALVES, MEANS, ONE_PASS, ROTATIONS, sampled_pair

__all__ = ["RECORDS"]

_FEATURES = frozenset({Invariance.PERMUTATION, Invariance.SCALE, Invariance.TRANSLATION})
_STANDARD = "the sample, once more, centred and divided"
_AGAIN = f"{HALVES}; every replicate costs the pairs again, on half of the tokens"

RECORDS = (
    sampled_pair(
        name="correlation_match_soft",
        what="best match of each feature",
        cost_class=CostClass.MODERATE,
        long_name="correlation of features with their best match",
        definition=(
            r"mean over the features f of `layer` of $\max_g r(x_f,y_g)$, Pearson's correlation over tokens with the features g "
            r"of `layer_other`, each of which may be chosen by many. Features that are "
            "the same for every token, within rounding, are left out"
        ),
        low=-1.0,
        high=1.0,
        symmetric=False,
        self_value=1.0,
        invariances=_FEATURES,
        least_tokens=2,
        needs_variation=True,
        memory=_STANDARD,
        cost="tokens × features² products a pair, in either order",
        bootstrap=_AGAIN,
        reference="Li et al. 2015, arXiv 1511.07543; Klabunde et al. 2023, arXiv 2305.06329",
        cites=("li2015convergent", "klabunde2023similarity"),
    ),
    sampled_pair(
        name="correlation_match_hard",
        what="features matched one to one",
        cost_class=CostClass.MODERATE,
        long_name="correlation of features matched one to one",
        definition=(
            r"$\max_\pi\frac1m\sum_f r(x_f,y_{\pi(f)})$ over one-to-one matches $\pi$ of the m features of the layer that "
            r"has fewer, r Pearson's correlation over tokens. Features that are "
            "the same for every token, within rounding, are left out"
        ),
        low=-1.0,
        high=1.0,
        symmetric=True,
        self_value=1.0,
        invariances=_FEATURES,
        least_tokens=2,
        needs_variation=True,
        memory=_STANDARD,
        cost="tokens × features² products and an assignment (features³ at worst) a pair",
        bootstrap=_AGAIN,
        reference="Li et al. 2015, arXiv 1511.07543",
        cites=("li2015convergent",),
    ),
    sampled_pair(
        name="permutation_procrustes",
        what="shape up to permutation",
        cost_class=CostClass.MODERATE,
        long_name="permutation Procrustes distance",
        definition=(
            r"$\min_P\|X_cP-Y_c\|_F^2$ over permutations P of features, both centred and divided by their Frobenius norm; states "
            r"of fewer features are padded with zeros. `procrustes` allows any rotation, and is never larger"
        ),
        low=0.0,
        high=4.0,
        symmetric=True,
        self_value=0.0,
        invariances=_FEATURES,
        least_tokens=2,
        needs_variation=True,
        memory="the sample, once more in float64",
        cost="tokens × features² products and an assignment (features³ at worst) a pair, in float64",
        bootstrap=_AGAIN,
        reference="Williams et al. 2021, arXiv 2110.14739",
        cites=("williams2021shape",),
    ),
    Measure(
        name="magnitude_difference",
        what="length of the mean state",
        cost_class=CostClass.CHEAP,
        long_name="difference in the length of the mean state",
        kind=Kind.PAIRWISE,
        definition=r"$\left||\bar x|-|\bar y|\right|$, the lengths of the means over tokens",
        low=0.0,
        high=inf,
        symmetric=True,
        self_value=0.0,
        invariances=ROTATIONS,
        least_tokens=1,
        same_width=False,
        needs_variation=False,
        on_sample=False,
        passes=ONE_PASS,
        memory="layers × features × 16 bytes; with a bootstrap min(sequences, replicates) × layers × features × 8 bytes",
        cost="features a token",
        bootstrap=FREE,
        reference="Wang et al. 2022, IEEE TKDE 34; Klabunde et al. 2023, arXiv 2305.06329",
        cites=("wang2020instability", "klabunde2023similarity"),
        estimator=MEANS,
        units="units of the states",
    ),
    sampled_pair(
        name="uniformity_difference",
        what="spread over the sphere",
        cost_class=CostClass.MODERATE,
        long_name="difference in uniformity on the sphere",
        definition=(
            r"$|u(X)-u(Y)|$ with $u(X)=\ln\frac1{n(n-1)}\sum_{s\ne t}e^{-2|x_s/|x_s|-x_t/|x_t||^2}$, which is 0 where all "
            r"states point one way and less the more evenly they spread"
        ),
        low=0.0,
        high=8.0,
        symmetric=True,
        self_value=0.0,
        invariances=ROTATIONS | {Invariance.SCALE, Invariance.TOKEN_SCALE},
        least_tokens=2,
        needs_variation=False,
        memory="the sample, and one layer in float64",
        cost="tokens² × layers × features products in float64",
        bootstrap=f"{HALVES}; every replicate costs a quarter of the value",
        reference="Wang & Isola 2020, arXiv 2005.10242; Klabunde et al. 2023, arXiv 2305.06329",
        cites=("wang2020uniformity", "klabunde2023similarity"),
    ),
    sampled_pair(
        name="concentricity_difference",
        what="closeness to the mean",
        cost_class=CostClass.CHEAP,
        long_name="difference in concentricity",
        definition=(
            r"$|c(X)-c(Y)|$ with $c(X)=\frac1n\sum_t\cos(x_t,\bar x)$, the mean cosine of the tokens with their mean state"
        ),
        low=0.0,
        high=2.0,
        symmetric=True,
        self_value=0.0,
        invariances=ROTATIONS | {Invariance.SCALE},
        least_tokens=1,
        needs_variation=False,
        memory="the sample, and one layer in float64",
        cost="tokens × layers × features",
        bootstrap=f"{HALVES}; free",
        reference="Wang et al. 2022, IEEE TKDE 34; Klabunde et al. 2023, arXiv 2305.06329",
        cites=("wang2020instability", "klabunde2023similarity"),
    ),
)
