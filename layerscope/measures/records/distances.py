"""Measures of distances between tokens at two layers."""

from layerscope.measures.record import CostClass
from layerscope.measures.records.wording import HALVES, SHAPES, sampled_pair

__all__ = ["RECORDS"]

_MEMORY = "the sample, and once more in float64; of its tokens² distances only blocks"
_HALVES = f"{HALVES}; all replicates come with the value, for the cost of as many more products as there are groups²"

RECORDS = (
    sampled_pair(
        name="cka_rbf",
        what="structure of near tokens",
        cost_class=CostClass.MODERATE,
        long_name="centred kernel alignment with a radial basis function, debiased",
        definition=(
            r"`cka` with the kernel $\exp(-|x_s-x_t|^2/2\sigma^2)$ for K and for L, where $\sigma$ is 0.8 of the layer's "
            r"median distance between two tokens (above 1,024 tokens, between 1,024 evenly spaced ones). It sees near tokens "
            r"more than far ones; as $\sigma$ grows it tends to `cka`. With half-samples the widths stay those of all tokens"
        ),
        low=-1.0,
        high=1.0,
        symmetric=True,
        self_value=1.0,
        invariances=SHAPES,
        least_tokens=4,
        needs_variation=True,
        memory=_MEMORY,
        cost="tokens² / 2 × layers × (features + layers) products in float64, and as many exponentials as layers × tokens² / 2",
        bootstrap=_HALVES,
        reference="Kornblith et al. 2019, arXiv 1905.00414; HSIC_1: Song et al. 2012, JMLR 13",
        cites=("kornblith2019similarity", "song2012feature"),
    ),
    sampled_pair(
        name="distance_correlation",
        what="distances between tokens",
        cost_class=CostClass.MODERATE,
        long_name="distance correlation",
        definition=(
            r"$\sqrt{\langle A,B\rangle/\sqrt{\langle A,A\rangle\langle B,B\rangle}}$ of the matrices of distances between "
            r"tokens, centred over rows and columns: $A=HDH$ with $D_{st}=|x_s-x_t|$, B of the other layer. Zero in the limit "
            r"of many tokens only for independent layers; high by chance if there are few tokens for the number of features"
        ),
        low=0.0,
        high=1.0,
        symmetric=True,
        self_value=1.0,
        invariances=SHAPES,
        least_tokens=2,
        needs_variation=True,
        memory=_MEMORY,
        cost="as cka_rbf, with roots for exponentials",
        bootstrap=_HALVES,
        reference="Székely et al. 2007, Annals of Statistics 35",
        cites=("szekely2007distance",),
    ),
)
