"""Measures of the directions that the features of two layers span over tokens, and of linear maps between them."""

from dataclasses import replace
from functools import partial
from math import inf

from layerscope.measures.record import CostClass, Invariance
from layerscope.measures.records.wording import HALVES, ROTATIONS, SHAPES, sampled_pair

__all__ = ["RECORDS"]

_LINEAR = SHAPES | {Invariance.INVERTIBLE_LINEAR}
_DECOMPOSED = (
    "one singular value decomposition of tokens × features a layer, shared by all measures of this kind; "
    "tokens × features² products a pair"
)
_BASES = "the sample, its orthonormal bases in its own type, and one layer in float64"
_AGAIN = f"{HALVES}; every replicate costs the decompositions and pairs again, on half of the tokens"
_REFUSED = (
    "Tokens equal within rounding at every layer count as one, and directions within rounding error as none. Refused if a "
    "layer has as many directions as its different tokens can fill, which makes it 1 for any two layers; if there are no more "
    "different tokens than features, refused if it fills more than half of them"
)

_of_directions = partial(
    sampled_pair,
    low=0.0,
    high=1.0,
    self_value=1.0,
    memory=_BASES,
    bootstrap=_AGAIN,
    needs_more_tokens_than_features=True,
)

RECORDS = (
    _of_directions(
        name="cca_mean",
        what="canonical correlations",
        cost_class=CostClass.EXPENSIVE,
        long_name="mean canonical correlation",
        definition=(
            r"$\frac1r\sum_i\rho_i$ of the r canonical correlations $\rho_i$, the singular values of $Q_X'Q_Y$, where Q is an "
            r"orthonormal basis of what a layer's centred features span over tokens, and r the smaller number of directions. "
            + _REFUSED
        ),
        symmetric=True,
        invariances=_LINEAR,
        least_tokens=3,
        needs_variation=True,
        cost=f"{_DECOMPOSED}, and the singular values of features × features",
        reference="Hotelling 1936, Biometrika 28; Raghu et al. 2017, arXiv 1706.05806",
        cites=("hotelling1936relations", "raghu2017svcca"),
    ),
    _of_directions(
        name="cca_r2",
        what="squared CCA correlations",
        cost_class=CostClass.EXPENSIVE,
        long_name="mean squared canonical correlation",
        definition=r"$\frac1r\sum_i\rho_i^2=\frac1r\|Q_X'Q_Y\|_F^2$, as in `cca_mean`. " + _REFUSED,
        symmetric=True,
        invariances=_LINEAR,
        least_tokens=3,
        needs_variation=True,
        cost=_DECOMPOSED,
        reference="Kornblith et al. 2019, arXiv 1905.00414",
        cites=("kornblith2019similarity",),
    ),
    _of_directions(
        name="svcca",
        what="CCA of the main directions",
        cost_class=CostClass.EXPENSIVE,
        long_name="singular vector canonical correlation",
        definition=(
            r"`cca_mean` of the fewest principal components of each layer that hold 99 % of its variance. Refused by the "
            r"rule of `cca_mean`, for the directions kept"
        ),
        symmetric=True,
        invariances=SHAPES,
        least_tokens=3,
        needs_variation=True,
        cost="as cca_mean at most; of kept directions instead of features after the decomposition",
        reference="Raghu et al. 2017, arXiv 1706.05806",
        cites=("raghu2017svcca",),
    ),
    _of_directions(
        name="pwcca",
        what="CCA weighted by one layer",
        cost_class=CostClass.EXPENSIVE,
        long_name="projection-weighted canonical correlation",
        definition=(
            r"$\sum_i\alpha_i\rho_i/\sum_i\alpha_i$ with $\alpha_i=\sum_j|h_i\cdot x_j|$, where $h_i$ is the i-th canonical "
            r"variable of `layer` and $x_j$ its j-th feature over tokens: correlations count by how much of `layer` they carry, "
            r"so the layers of a pair cannot be exchanged. Where `layer` has more directions than `layer_other`, the weights are "
            r"over the shared directions only: the other directions of `layer` do not lower the value. The code of Morcos et al. "
            r"takes the weights of the smaller layer: that is `pwcca_smaller`. If correlations are equal, their weights depend "
            r"on rounding. " + _REFUSED
        ),
        symmetric=False,
        invariances=frozenset({Invariance.PERMUTATION, Invariance.SCALE, Invariance.TRANSLATION}),
        least_tokens=3,
        needs_variation=True,
        cost=f"{_DECOMPOSED} in either order, and a decomposition of features × features",
        reference="Morcos et al. 2018, arXiv 1806.05759",
        cites=("morcos2018insights",),
    ),
    _of_directions(
        name="pwcca_smaller",
        what="CCA weighted by the smaller",
        cost_class=CostClass.EXPENSIVE,
        long_name="projection-weighted canonical correlation, weights of the smaller layer",
        definition=(
            r"`pwcca` with the weights of the layer that has fewer directions, of `layer` if both have the same number: the "
            r"choice of the code of Morcos et al. For two layers of the same rank it is `pwcca`. " + _REFUSED
        ),
        symmetric=False,
        invariances=frozenset({Invariance.PERMUTATION, Invariance.SCALE, Invariance.TRANSLATION}),
        least_tokens=3,
        needs_variation=True,
        cost="as pwcca",
        reference="Morcos et al. 2018, arXiv 1806.05759, and its code",
        cites=("morcos2018insights",),
    ),
    _of_directions(
        name="linear_r2",
        what="linear prediction",
        cost_class=CostClass.EXPENSIVE,
        long_name="variance predicted by linear regression",
        definition=(
            r"$\|Q_Y'X_c\|_F^2/\|X_c\|_F^2$: the share of the variance of `layer` (X) that the best linear map of the features "
            r"of `layer_other` (Y) predicts, on the tokens it is fitted to: it grows with features / tokens for any two layers. "
            r"On other tokens it is `linear_r2_cv`. " + _REFUSED
        ),
        symmetric=False,
        invariances=SHAPES,
        least_tokens=3,
        needs_variation=True,
        cost=f"{_DECOMPOSED} in either order",
        reference="Kornblith et al. 2019, arXiv 1905.00414",
        cites=("kornblith2019similarity",),
    ),
    replace(
        _of_directions(
            name="linear_r2_cv",
            what="linear prediction, held out",
            cost_class=CostClass.EXPENSIVE,
            long_name="variance predicted by linear regression, cross-validated",
            definition=(
                r"$1-\sum_k\|X_k-\hat X_k\|_F^2/\sum_k\|X_k-\bar x_{-k}\|_F^2$ over five folds k of whole sequences (as many "
                r"as there are sequences where these are fewer): $\hat X_k$ is what least squares on the features of "
                r"`layer_other` predicts of `layer` in fold k, and $\bar x_{-k}$ the mean state, both fitted to the other folds. "
                r"Below 0 the mean predicts better. Refused where the other folds have no more tokens than directions"
            ),
            symmetric=False,
            invariances=SHAPES,
            least_tokens=6,
            needs_variation=True,
            cost="as linear_r2, five times, in either order",
            reference="Stone 1974, J. R. Stat. Soc. B 36; linear prediction: Kornblith et al. 2019, arXiv 1905.00414",
            cites=("stone1974cross", "kornblith2019similarity"),
        ),
        low=-inf,
        memory="the sample, five times in its own type",
    ),
    _of_directions(
        name="eigenspace_overlap",
        what="overlap of subspaces",
        cost_class=CostClass.EXPENSIVE,
        long_name="eigenspace overlap score",
        definition=(
            r"$\|U_X'U_Y\|_F^2/\max(r_X,r_Y)$, where U is an orthonormal basis of what a layer's features, not centred, span "
            r"over tokens, and r its number of directions. " + _REFUSED
        ),
        symmetric=True,
        invariances=ROTATIONS | {Invariance.SCALE, Invariance.INVERTIBLE_LINEAR},
        least_tokens=2,
        needs_variation=False,
        cost=f"{_DECOMPOSED}; the decompositions are its own, of states that are not centred",
        reference="May et al. 2019, arXiv 1909.01264",
        cites=("may2019downstream",),
    ),
)
