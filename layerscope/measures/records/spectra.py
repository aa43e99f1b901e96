"""Measures of the eigenvalues of one layer's covariance: ranks, entropies, decay.

They share one decomposition of each layer.
"""

from functools import partial
from math import inf

from layerscope.measures.record import CostClass, Invariance
from layerscope.measures.records.wording import (
    COVARIANCE,
    FREE,
    HALVES,
    ONE_PASS,
    ROTATIONS,
    SHAPES,
    SHARED_SAMPLE,
    WHOLE_SEQUENCES,
    per_layer,
)

__all__ = ["RECORDS"]

_MEMORY = (
    "layers × features² × 8 bytes up to the budget; beyond it the layers in turns, a pass each, or where rows come once a seeded "
    "sample of up to 4,096 tokens; shared by all spectra"
)
_PRODUCTS = (
    "tokens × layers × features² products in float64 (tokens² × layers × features where tokens are fewer), shared by all "
    "spectra; no eigenvalue"
)
_EIGENVALUES = "as participation_ratio, and layers × features³ (tokens³) for the eigenvalues, shared by all spectra"
_BOOTSTRAP = f"{HALVES}; {SHARED_SAMPLE}; every replicate costs products and eigenvalues again, for all spectra at once"

_of_spectrum = partial(
    per_layer,
    invariances=SHAPES,
    needs_variation=True,
    on_sample=True,
    passes=ONE_PASS,
    memory=_MEMORY,
    bootstrap=_BOOTSTRAP,
    estimator=COVARIANCE,
)

RECORDS = (
    _of_spectrum(
        name="participation_ratio",
        what="dimensions in use",
        cost_class=CostClass.MODERATE,
        long_name="participation ratio",
        definition=r"$(\sum_i\lambda_i)^2/\sum_i\lambda_i^2$ of the eigenvalues of the centred covariance over tokens",
        low=1.0,
        high=inf,
        least_tokens=2,
        cost=_PRODUCTS,
        reference="Gao et al. 2017, bioRxiv 214262",
        cites=("gao2017theory",),
        units="dimensions",
    ),
    _of_spectrum(
        name="effective_rank",
        what="dimensions, by entropy",
        cost_class=CostClass.MODERATE,
        long_name="effective rank",
        definition=(
            r"$\exp H(\lambda/\sum_i\lambda_i)$, the entropy H in natural logarithms, of the eigenvalues of the centred "
            r"covariance over tokens. Roy and Vetterli define it for the matrix they are given: of the covariance it is this "
            r"measure, of the centred states themselves it is `rankme`"
        ),
        low=1.0,
        high=inf,
        least_tokens=2,
        cost=_EIGENVALUES,
        reference="Roy & Vetterli 2007, EUSIPCO",
        cites=("roy2007effective",),
        units="dimensions",
    ),
    _of_spectrum(
        name="rankme",
        what="dimensions, uncentred",
        cost_class=CostClass.MODERATE,
        long_name="RankMe",
        definition=(
            r"$\exp H(\sigma/\sum_i\sigma_i)$, the entropy H in natural logarithms, of the singular values "
            r"$\sigma_i=\sqrt{\lambda_i}$ of the centred states. Garrido et al. do not centre, and add $10^{-7}$ to each share; "
            r"here values within rounding error of zero are left out"
        ),
        low=1.0,
        high=inf,
        least_tokens=2,
        cost=_EIGENVALUES,
        reference="Garrido et al. 2023, arXiv 2210.02885",
        cites=("garrido2023rankme",),
        units="dimensions",
    ),
    _of_spectrum(
        name="stable_rank",
        what="total over largest variance",
        cost_class=CostClass.MODERATE,
        long_name="stable rank",
        definition=(
            r"$\|X_c\|_F^2/\|X_c\|_2^2=\sum_i\lambda_i/\lambda_1$ of the eigenvalues of the centred covariance over tokens"
        ),
        low=1.0,
        high=inf,
        least_tokens=2,
        cost=_EIGENVALUES,
        reference="Rudelson & Vershynin 2007, J. ACM 54(4)",
        cites=("rudelson2007sampling",),
        units="dimensions",
    ),
    _of_spectrum(
        name="matrix_entropy",
        what="entropy of the spectrum",
        cost_class=CostClass.MODERATE,
        long_name="matrix-based entropy",
        definition=(
            r"$-\sum_iq_i\ln q_i$ with $q_i=\lambda_i/\sum_j\lambda_j$, of the eigenvalues of the centred covariance over "
            r"tokens (those of the centred tokens' Gram matrix): the matrix-based entropy of order 1, of all tokens together. "
            r"It is the logarithm of `effective_rank`. Skean et al. do not centre, and take one sequence at a time: that is "
            r"`matrix_entropy_sequence`"
        ),
        low=0.0,
        high=inf,
        least_tokens=2,
        cost=_EIGENVALUES,
        reference="Giraldo et al. 2015, arXiv 1211.2459; of layers: Skean et al. 2025, arXiv 2502.02013",
        cites=("giraldo2015measures", "skean2025layer"),
        units="nats",
    ),
    _of_spectrum(
        name="alpha_req",
        what="decay of the spectrum",
        cost_class=CostClass.MODERATE,
        long_name="power-law exponent of the spectrum (α-ReQ)",
        definition=(
            r"the α of $\lambda_i\propto i^{-\alpha}$: minus the slope of the least-squares line of $\ln\lambda_i$ on $\ln i$, "
            r"of the eigenvalues of the centred covariance, the largest first. With $m=\min(p,n-1)$ it is fitted to the ranks "
            r"from $\min(11,1+\lfloor m/10\rfloor)$ to $\min(500,\max(2,\lceil m/2\rceil))$, `fit_from` and `fit_to` in the "
            r"file: the largest eigenvalues follow no law, and the smallest depend on the number of tokens. Agrawal et al. "
            r"choose a range for each network, and their code weights the fit: that is `alpha_req_weighted`"
        ),
        low=0.0,
        high=inf,
        least_tokens=3,
        cost=_EIGENVALUES,
        reference="Agrawal et al. 2022, α-ReQ, NeurIPS 35",
        cites=("agrawal2022alphareq",),
    ),
    _of_spectrum(
        name="alpha_req_weighted",
        what="spectral decay, weighted",
        cost_class=CostClass.MODERATE,
        long_name="power-law exponent of the spectrum, weighted fit",
        definition=(
            r"`alpha_req` on the same ranks, by weighted least squares: rank i counts $1/i$, so that the large eigenvalues "
            r"decide. It is the estimator of the code of Agrawal et al., which they take from Stringer et al."
        ),
        low=0.0,
        high=inf,
        least_tokens=3,
        cost=_EIGENVALUES,
        reference="Agrawal et al. 2022, α-ReQ, NeurIPS 35; Stringer et al. 2019, Nature 571",
        cites=("agrawal2022alphareq", "stringer2019high"),
    ),
    _of_spectrum(
        name="isoscore",
        what="evenness of dimensions",
        cost_class=CostClass.MODERATE,
        long_name="IsoScore",
        definition=(
            r"0 for states along one direction, 1 where the variance is the same in all p directions: from the covariance "
            r"in its principal axes the steps of Rudman et al. give $(r-1)/(p-1)$, with r the `participation_ratio`; p ≥ 2"
        ),
        low=0.0,
        high=1.0,
        least_tokens=2,
        cost=_PRODUCTS,
        reference="Rudman et al. 2022, arXiv 2108.07344",
        cites=("rudman2022isoscore",),
    ),
    per_layer(
        name="matrix_entropy_sequence",
        what="entropy within each text",
        cost_class=CostClass.MODERATE,
        long_name="matrix-based entropy of single sequences",
        definition=(
            r"mean over sequences of $-\sum_iq_i\ln q_i$ with $q_i=\lambda_i/\sum_j\lambda_j$, of the eigenvalues of the Gram "
            r"matrix $XX'$ of one sequence's tokens, not centred: the matrix-based entropy of order 1. A sequence of n tokens "
            r"has at most $\ln n$, so compare texts of like length. Sequences that are zero at a layer are left out"
        ),
        low=0.0,
        high=inf,
        invariances=ROTATIONS | {Invariance.SCALE},
        least_tokens=1,
        needs_variation=False,
        on_sample=False,
        passes=ONE_PASS,
        memory="the rows of whole sequences up to an eighth of the budget; beyond it a seeded sample of sequences",
        cost="sequences × layers × (their tokens² × features products, and the eigenvalues of their tokens)",
        bootstrap=FREE,
        reference="Skean et al. 2025, arXiv 2502.02013; Giraldo et al. 2015, arXiv 1211.2459",
        cites=("skean2025layer", "giraldo2015measures"),
        estimator=WHOLE_SEQUENCES,
        units="nats",
    ),
)
