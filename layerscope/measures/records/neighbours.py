"""Measures of the nearest neighbours of tokens at two layers."""

from functools import partial
from math import inf

from layerscope.measures.record import CostClass, Invariance
from layerscope.measures.records.wording import HALVES, ROTATIONS, sampled_pair

__all__ = ["RECORDS"]

_DIRECTIONS = ROTATIONS | {Invariance.SCALE, Invariance.TOKEN_SCALE}
_NEAREST = (
    "N is a token's 10 nearest neighbours by cosine among the other tokens; equally near ones (to twelve decimals) "
    "are in the order of their rows. Tokens whose states are equal within rounding at every layer, as those of a shared "
    "prompt, count as one; `distinct_tokens` in the file is the number of tokens left"
)
_MEMORY = "the sample, and once more in float64; of its tokens² similarities only blocks"
_COST = (
    "tokens² × layers × features products in float64, and tokens × layers² × 10 looked up; "
    "shared by all measures of neighbours"
)
_AGAIN = f"{HALVES}; every replicate costs a quarter of the value; neighbours are those within the half"

_of_neighbours = partial(
    sampled_pair,
    high=1.0,
    symmetric=True,
    self_value=1.0,
    invariances=_DIRECTIONS,
    least_tokens=12,
    needs_variation=True,
    memory=_MEMORY,
    cost=_COST,
    bootstrap=_AGAIN,
)

RECORDS = (
    _of_neighbours(
        name="knn_jaccard",
        what="neighbour sets, Jaccard",
        cost_class=CostClass.MODERATE,
        long_name="Jaccard similarity of nearest neighbours",
        definition=rf"mean over tokens of $|N_x\cap N_y|/|N_x\cup N_y|$, where {_NEAREST}",
        low=0.0,
        reference="Wang et al. 2022, IEEE TKDE 34; Klabunde et al. 2023, arXiv 2305.06329",
        cites=("wang2020instability", "klabunde2023similarity"),
    ),
    _of_neighbours(
        name="mutual_knn",
        what="shared nearest neighbours",
        cost_class=CostClass.MODERATE,
        long_name="mutual nearest neighbours",
        definition=rf"mean over tokens of $|N_x\cap N_y|/10$, where {_NEAREST}",
        low=0.0,
        reference="Huh et al. 2024, arXiv 2405.07987",
        cites=("huh2024platonic",),
    ),
    _of_neighbours(
        name="rank_similarity",
        what="ranks of shared neighbours",
        cost_class=CostClass.MODERATE,
        long_name="rank similarity of nearest neighbours",
        definition=(
            r"mean over tokens of $\frac1{H_c}\sum_{t\in N_x\cap N_y}\frac{2}{(1+|r_x(t)-r_y(t)|)(r_x(t)+r_y(t))}$ "
            rf"with ranks r from 1 for the nearest, $c=|N_x\cap N_y|$ and $H_c=\sum_{{i\le c}}1/i$; 0 without a "
            rf"common neighbour. {_NEAREST}"
        ),
        low=0.0,
        reference="Wang et al. 2022, IEEE TKDE 34; Klabunde et al. 2023, arXiv 2305.06329",
        cites=("wang2020instability", "klabunde2023similarity"),
    ),
    _of_neighbours(
        name="second_order_cosine",
        what="similarities to neighbours",
        cost_class=CostClass.MODERATE,
        long_name="second-order cosine similarity",
        definition=(
            r"mean over tokens s of the cosine of the vectors of $\cos(x_s,x_t)$ and of $\cos(y_s,y_t)$ over t in "
            rf"$N_x\cup N_y$. {_NEAREST}"
        ),
        low=-1.0,
        reference="Hamilton et al. 2016, arXiv 1606.02821; Klabunde et al. 2023, arXiv 2305.06329",
        cites=("hamilton2016cultural", "klabunde2023similarity"),
    ),
    _of_neighbours(
        name="cknna",
        what="structure among neighbours",
        cost_class=CostClass.MODERATE,
        long_name="centred kernel nearest-neighbour alignment",
        definition=(
            r"$a(K,L)/\sqrt{a(K,K)\,a(L,L)}$ with "
            r"$a(K,L)=\sum_s\sum_{t\in N_x(s)\cap N_y(s)}(K_{st}-\bar K_s)(L_{st}-\bar L_s)$, "
            r"where $K_{st}=\cos(x_s,x_t)$, L of the other layer, and the means are over the other tokens: the formula of the "
            r"paper. Its code computes something else, `cknna_unbiased`. " + _NEAREST
        ),
        low=-1.0,
        reference="Huh et al. 2024, arXiv 2405.07987",
        cites=("huh2024platonic",),
    ),
    _of_neighbours(
        name="cknna_unbiased",
        what="CKNNA without bias",
        cost_class=CostClass.MODERATE,
        long_name="centred kernel nearest-neighbour alignment, debiased",
        definition=(
            r"$h(K\circ M,L\circ M)/\sqrt{h(K\circ N_x,K\circ N_x)\,h(L\circ N_y,L\circ N_y)}$, where h is the criterion "
            r"$\mathrm{HSIC}_1$ of `cka`, $K_{st}=\cos(x_s,x_t)$, L of the other layer, and $M_{st}$ is 1 where t is in "
            r"$N_x(s)\cap N_y(s)$ and 0 elsewhere: what the code of Huh et al. computes by default. Neighbourhood is not mutual, "
            r"so it is not quite symmetric and has no strict bounds. " + _NEAREST
        ),
        low=-inf,
        high=inf,
        symmetric=False,
        reference="Huh et al. 2024, arXiv 2405.07987, and its code; HSIC_1: Song et al. 2012, JMLR 13",
        cites=("huh2024platonic", "song2012feature"),
    ),
)
