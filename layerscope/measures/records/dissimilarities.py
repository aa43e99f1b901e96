"""Measures of representational similarity analysis: dissimilarities between tokens at two layers, compared."""

from functools import partial

from layerscope.measures.record import CostClass, Invariance
from layerscope.measures.records.wording import HALVES, sampled_pair

__all__ = ["RECORDS"]

_PATTERNS = frozenset({Invariance.PERMUTATION, Invariance.SCALE, Invariance.TOKEN_SCALE})
_RDM = (
    r"the dissimilarities $1-r(x_s,x_t)$ of all pairs of tokens s < t, r Pearson's correlation over features, rounded to twelve "
    r"decimals so that equal ones are equal"
)
_VECTORS = (
    "layers × tokens² / 2 numbers of the states' type up to half of the budget; beyond it a smaller seeded sample"
)
_PRODUCTS = "tokens² × layers × features products in float64 and tokens² / 2 × layers² products"
_AGAIN = f"{HALVES}; every replicate costs a quarter of the value"

_of_dissimilarities = partial(
    sampled_pair,
    high=1.0,
    symmetric=True,
    self_value=1.0,
    invariances=_PATTERNS,
    least_tokens=3,
    needs_variation=True,
    memory=_VECTORS,
    bootstrap=_AGAIN,
)

RECORDS = (
    _of_dissimilarities(
        name="rsa",
        what="dissimilarities, by rank",
        cost_class=CostClass.MODERATE,
        long_name="representational similarity analysis, Spearman's correlation",
        definition=f"Spearman's rank correlation, equal values at their mean rank, of {_RDM}, at the two layers",
        low=-1.0,
        cost=f"{_PRODUCTS}; one sorting of tokens² / 2 numbers a layer",
        reference="Kriegeskorte et al. 2008, Frontiers in Systems Neuroscience 2",
        cites=("kriegeskorte2008representational",),
    ),
    _of_dissimilarities(
        name="rsa_kendall",
        what="dissimilarities, pair order",
        cost_class=CostClass.EXPENSIVE,
        long_name="representational similarity analysis, Kendall's correlation",
        definition=rf"Kendall's $\tau_b$, which leaves equal values out, of {_RDM}, at the two layers; on up to 512 tokens",
        low=-1.0,
        passes="1, which fills a seeded sample; the measure is of up to 512 tokens of it",
        memory="layers × tokens² / 2 × 8 bytes: 1 MB a layer for 512 tokens",
        cost="one sorting of tokens² / 2 numbers a pair of layers",
        reference="Nili et al. 2014, PLoS Computational Biology 10; Kendall 1945, Biometrika 33",
        cites=("nili2014toolbox", "kendall1945ties"),
    ),
    _of_dissimilarities(
        name="rsa_pearson",
        what="dissimilarities, linearly",
        cost_class=CostClass.MODERATE,
        long_name="representational similarity analysis, Pearson's correlation",
        definition=f"Pearson's correlation of {_RDM}, at the two layers",
        low=-1.0,
        cost=_PRODUCTS,
        reference="Kriegeskorte et al. 2008, Frontiers in Systems Neuroscience 2",
        cites=("kriegeskorte2008representational",),
    ),
    _of_dissimilarities(
        name="rsa_cosine",
        what="dissimilarities, by cosine",
        cost_class=CostClass.MODERATE,
        long_name="representational similarity analysis, cosine",
        definition=(
            f"the cosine, without centring, of {_RDM}, at the two layers; dissimilarities are never negative, so it is high "
            "for any two layers"
        ),
        low=0.0,
        cost=_PRODUCTS,
        reference="Diedrichsen et al. 2020, arXiv 2007.02789",
        cites=("diedrichsen2020comparing",),
    ),
)
