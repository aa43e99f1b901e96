"""How many directions the states of one layer fill."""

from math import inf

from layerscope.measures.record import Kind, Measure
from layerscope.measures.records.wording import COVARIANCE, HALVES, ONE_PASS, SHAPES, SHARED_SAMPLE

__all__ = ["RECORDS"]

RECORDS = (
    Measure(
        name="participation_ratio",
        long_name="participation ratio",
        kind=Kind.PER_LAYER,
        definition=r"$(\sum_i\lambda_i)^2/\sum_i\lambda_i^2$ of the eigenvalues of the centred covariance over tokens",
        low=1.0,
        high=inf,
        symmetric=False,
        self_value=None,
        invariances=SHAPES,
        least_tokens=2,
        same_width=True,
        needs_variation=True,
        on_sample=True,
        passes=ONE_PASS,
        memory="layers × features² × 8 bytes up to the budget; beyond it a seeded sample of up to 4,096 tokens",
        cost="features² products a token and layer",
        bootstrap=f"{HALVES}; {SHARED_SAMPLE}",
        reference="Gao et al. 2017, bioRxiv 214262",
        cites=("gao2017theory",),
        family=COVARIANCE,
        units="dimensions",
    ),
    Measure(
        name="effective_rank",
        long_name="effective rank",
        kind=Kind.PER_LAYER,
        definition=(
            r"$\exp H(\lambda/\sum_i\lambda_i)$, the entropy H in natural logarithms, of the eigenvalues of the centred "
            r"covariance over tokens"
        ),
        low=1.0,
        high=inf,
        symmetric=False,
        self_value=None,
        invariances=SHAPES,
        least_tokens=2,
        same_width=True,
        needs_variation=True,
        on_sample=True,
        passes=ONE_PASS,
        memory="as participation_ratio, and shared with it",
        cost="as participation_ratio, and one eigenvalue decomposition a layer",
        bootstrap=f"{HALVES}; {SHARED_SAMPLE}; every replicate costs all the decompositions again",
        reference="Roy & Vetterli 2007, EUSIPCO",
        cites=("roy2007effective",),
        family=COVARIANCE,
        units="dimensions",
    ),
)
