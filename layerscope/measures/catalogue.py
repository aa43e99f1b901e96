"""The one table of measures.

The engine, ``layerscope list measures``, the documentation and the law tests read it; a new measure is a new row here and
an estimator in a family. It knows no arrays.
"""

from collections.abc import Iterable
from math import inf

from layerscope.errors import unknown_name
from layerscope.measures.record import Invariance, Kind, Measure

__all__ = ["DEFAULT_MEASURES", "MEASURES", "find_measures"]

_ANGLES = frozenset({Invariance.COMMON_ROTATION, Invariance.SCALE, Invariance.TOKEN_SCALE})
_ROTATIONS = frozenset({Invariance.ROTATION, Invariance.COMMON_ROTATION, Invariance.PERMUTATION})
_SHAPES = _ROTATIONS | {Invariance.SCALE, Invariance.TRANSLATION}

_SEQUENCE_SUMS = "sequences × layers² × 8 bytes × 3, and one chunk"
_ONE_PASS = "1"
_FREE = "sequences drawn with replacement, exact from the sums of each sequence: free"
_HALVES = (
    "half-samples: sequences dealt into at most 64 groups, each replicate a random half of them, shifted so that their "
    "mean is the value"
)
_SHARED_SAMPLE = "over 4,096 tokens the replicates come from a seeded sample of 4,096 tokens"

_PRODUCTS = "layerscope.measures.products:Products"
_MOMENTS = "layerscope.measures.moments:Moments"
_ALIGNMENT = "layerscope.measures.alignment:Alignment"
_COVARIANCE = "layerscope.measures.covariance:Covariance"

_PAIRWISE = (
    Measure(
        name="cosine",
        long_name="cosine similarity of token states",
        kind=Kind.PAIRWISE,
        definition=r"mean over tokens t of the cosine of the two states: $\frac1n\sum_t \frac{x_t\cdot y_t}{|x_t||y_t|}$",
        low=-1.0,
        high=1.0,
        symmetric=True,
        self_value=1.0,
        invariances=_ANGLES,
        least_tokens=1,
        same_width=True,
        needs_variation=False,
        on_sample=False,
        passes=_ONE_PASS,
        memory=_SEQUENCE_SUMS,
        cost="layers² × features products a token",
        bootstrap=_FREE,
        reference="the field's default",
        family=_PRODUCTS,
    ),
    Measure(
        name="cosine_sequence",
        long_name="cosine similarity of whole sequences",
        kind=Kind.PAIRWISE,
        definition=(
            r"each sequence's states flattened to one vector of tokens × features, the cosine of the two vectors, the mean "
            r"over sequences s: $\frac1S\sum_s \frac{\sum_{t\in s} x_t\cdot y_t}"
            r"{\sqrt{\sum_{t\in s}|x_t|^2\sum_{t\in s}|y_t|^2}}$. Owned by tokens of high norm: see the massive report"
        ),
        low=-1.0,
        high=1.0,
        symmetric=True,
        self_value=1.0,
        invariances=frozenset({Invariance.COMMON_ROTATION, Invariance.SCALE}),
        least_tokens=1,
        same_width=True,
        needs_variation=False,
        on_sample=False,
        passes=_ONE_PASS,
        memory=_SEQUENCE_SUMS,
        cost="as cosine, and shared with it",
        bootstrap=_FREE,
        reference="Sun et al. 2024, Transformer Layers as Painters, arXiv 2407.09298",
        family=_PRODUCTS,
    ),
    Measure(
        name="cosine_sequence_without_first",
        long_name="cosine similarity of whole sequences without their first token",
        kind=Kind.PAIRWISE,
        definition="`cosine_sequence` with position 0 of every sequence left out; computed whenever `cosine_sequence` is",
        low=-1.0,
        high=1.0,
        symmetric=True,
        self_value=1.0,
        invariances=frozenset({Invariance.COMMON_ROTATION, Invariance.SCALE}),
        least_tokens=1,
        same_width=True,
        needs_variation=False,
        on_sample=False,
        passes=_ONE_PASS,
        memory=_SEQUENCE_SUMS,
        cost="none beside cosine_sequence",
        bootstrap=_FREE,
        reference="Sun et al. 2024, arXiv 2407.09298; Xiao et al. 2023, arXiv 2309.17453",
        family=_PRODUCTS,
    ),
    Measure(
        name="cosine_centered",
        long_name="cosine similarity of token states without the layers' means",
        kind=Kind.PAIRWISE,
        definition=r"`cosine` after taking each layer's mean over tokens away: $\frac1n\sum_t \cos(x_t-\bar x,\,y_t-\bar y)$",
        low=-1.0,
        high=1.0,
        symmetric=True,
        self_value=1.0,
        invariances=frozenset({Invariance.COMMON_ROTATION, Invariance.SCALE, Invariance.TRANSLATION}),
        least_tokens=2,
        same_width=True,
        needs_variation=True,
        on_sample=False,
        passes="2: the means, then the products",
        memory="sequences × layers² × 8 bytes, and one chunk",
        cost="as cosine, once more",
        bootstrap=_FREE + "; the centre stays the mean of the full sample",
        reference="Ethayarajh 2019, arXiv 1909.00512; Mu & Viswanath 2018, arXiv 1702.01417",
        family=_MOMENTS,
    ),
    Measure(
        name="cka",
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
        invariances=_SHAPES,
        least_tokens=4,
        same_width=False,
        needs_variation=True,
        on_sample=False,
        passes="1 up to 4,096 tokens; above, as many as the minibatches need at the memory given",
        memory="rows of at least one minibatch (1,024 tokens; up to 4,096 where it is exact), as many as the budget holds",
        cost="tokens × 1,024 × layers × (features + layers) products (tokens² up to 4,096)",
        bootstrap=_HALVES,
        reference="Nguyen et al. 2021, arXiv 2010.15327; HSIC_1: Song et al. 2012, JMLR 13",
        family=_ALIGNMENT,
    ),
    Measure(
        name="cka_biased",
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
        invariances=_SHAPES,
        least_tokens=2,
        same_width=False,
        needs_variation=True,
        on_sample=True,
        passes=_ONE_PASS,
        memory="layers² / 2 × features² × 8 bytes up to the budget; beyond it a seeded sample of up to 4,096 tokens",
        cost="layers² × features² products a token, or tokens² × layers × features, whichever is less",
        bootstrap=f"{_HALVES}; {_SHARED_SAMPLE}",
        reference="Kornblith et al. 2019, arXiv 1905.00414",
        family=_COVARIANCE,
    ),
    Measure(
        name="procrustes",
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
        invariances=_SHAPES,
        least_tokens=2,
        same_width=False,
        needs_variation=True,
        on_sample=True,
        passes=_ONE_PASS,
        memory="as cka_biased, and shared with it",
        cost="as cka_biased, and one singular value decomposition of features × features a pair",
        bootstrap=f"{_HALVES}; {_SHARED_SAMPLE}; every replicate costs all the decompositions again",
        reference="Ding et al. 2021, arXiv 2108.01661",
        family=_COVARIANCE,
    ),
    Measure(
        name="angular_distance",
        long_name="angular distance of the last token's states",
        kind=Kind.PAIRWISE,
        definition=r"$\frac1\pi\arccos\cos(x,y)$ of the last stored token of each sequence, mean over sequences",
        low=0.0,
        high=1.0,
        symmetric=True,
        self_value=0.0,
        invariances=_ANGLES,
        least_tokens=1,
        same_width=True,
        needs_variation=False,
        on_sample=False,
        passes=_ONE_PASS,
        memory="sequences × layers² × 8 bytes",
        cost="little: one token a sequence, in float64",
        bootstrap=_FREE,
        reference="Gromov et al. 2024, arXiv 2403.17887",
        family=_PRODUCTS,
    ),
)

_PER_LAYER = (
    Measure(
        name="block_influence",
        long_name="block influence",
        kind=Kind.PER_LAYER,
        definition=(
            r"$1-\frac1n\sum_t\cos(x^{(l-1)}_t,x^{(l)}_t)$: at layer l it belongs to block l-1; NaN where state l-1 is not there"
        ),
        low=0.0,
        high=2.0,
        symmetric=False,
        self_value=None,
        invariances=_ANGLES,
        least_tokens=1,
        same_width=True,
        needs_variation=False,
        on_sample=False,
        passes=_ONE_PASS,
        memory=_SEQUENCE_SUMS,
        cost="none beside cosine",
        bootstrap=_FREE,
        reference="Men et al. 2024 (ShortGPT), arXiv 2403.03853",
        family=_PRODUCTS,
    ),
    Measure(
        name="variance",
        long_name="variance over tokens",
        kind=Kind.PER_LAYER,
        definition=r"mean over features f of the variance over tokens (ddof 0): $\frac1p\sum_f\frac1n\sum_t(x_{tf}-\bar x_f)^2$",
        low=0.0,
        high=inf,
        symmetric=False,
        self_value=None,
        invariances=_ROTATIONS | {Invariance.TRANSLATION},
        least_tokens=1,
        same_width=True,
        needs_variation=False,
        on_sample=False,
        passes=_ONE_PASS,
        memory="layers × features × 16 bytes; with a bootstrap min(sequences, replicates) × layers × features × 8 bytes",
        cost="features a token",
        bootstrap="sequences drawn with replacement, each replicate about its own mean: exact",
        reference="Sun et al. 2024, arXiv 2407.09298 (its Fig. 15 leaves the definition open)",
        family=_MOMENTS,
        units="squared units of the states",
    ),
    Measure(
        name="norm",
        long_name="mean length of the states",
        kind=Kind.PER_LAYER,
        definition=r"mean over tokens of the Euclidean norm: $\frac1n\sum_t|x_t|$",
        low=0.0,
        high=inf,
        symmetric=False,
        self_value=None,
        invariances=_ROTATIONS,
        least_tokens=1,
        same_width=True,
        needs_variation=False,
        on_sample=False,
        passes=_ONE_PASS,
        memory="sequences × layers × 8 bytes",
        cost="none beside cosine",
        bootstrap=_FREE,
        reference="the field's default",
        family=_PRODUCTS,
        units="units of the states",
    ),
    Measure(
        name="max_abs",
        long_name="largest absolute value",
        kind=Kind.PER_LAYER,
        definition=r"$\max_{t,f}|x_{tf}|$",
        low=0.0,
        high=inf,
        symmetric=False,
        self_value=None,
        invariances=frozenset({Invariance.PERMUTATION}),
        least_tokens=1,
        same_width=True,
        needs_variation=False,
        on_sample=False,
        passes=_ONE_PASS,
        memory="layers × features × 8 bytes",
        cost="features a token",
        bootstrap="none: the bootstrap of a maximum is not consistent",
        reference="Sun et al. 2024, Massive Activations, arXiv 2402.17762",
        family=_PRODUCTS,
        units="units of the states",
    ),
    Measure(
        name="participation_ratio",
        long_name="participation ratio",
        kind=Kind.PER_LAYER,
        definition=r"$(\sum_i\lambda_i)^2/\sum_i\lambda_i^2$ of the eigenvalues of the centred covariance over tokens",
        low=1.0,
        high=inf,
        symmetric=False,
        self_value=None,
        invariances=_SHAPES,
        least_tokens=2,
        same_width=True,
        needs_variation=True,
        on_sample=True,
        passes=_ONE_PASS,
        memory="layers × features² × 8 bytes up to the budget; beyond it a seeded sample of up to 4,096 tokens",
        cost="features² products a token and layer",
        bootstrap=f"{_HALVES}; {_SHARED_SAMPLE}",
        reference="Gao et al. 2017, bioRxiv 214262",
        family=_COVARIANCE,
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
        invariances=_SHAPES,
        least_tokens=2,
        same_width=True,
        needs_variation=True,
        on_sample=True,
        passes=_ONE_PASS,
        memory="as participation_ratio, and shared with it",
        cost="as participation_ratio, and one eigenvalue decomposition a layer",
        bootstrap=f"{_HALVES}; {_SHARED_SAMPLE}; every replicate costs all the decompositions again",
        reference="Roy & Vetterli 2007, EUSIPCO",
        family=_COVARIANCE,
        units="dimensions",
    ),
)

MEASURES: dict[str, Measure] = {measure.name: measure for measure in (*_PAIRWISE, *_PER_LAYER)}
"""All measures by name, pairwise ones first."""

DEFAULT_MEASURES = ("cosine", "cosine_sequence", "cosine_centered", "cka", "variance", "norm", "max_abs")
"""What an analysis computes when nothing is said."""


def find_measures(names: Iterable[str] | None = None) -> tuple[Measure, ...]:
    """Return the records of these measures, each once, in the order asked for.

    Parameters
    ----------
    names
        Names of measures; None for `DEFAULT_MEASURES`.

    Raises
    ------
    UsageError
        For a name that is not in the table.

    Examples
    --------
    >>> [measure.range for measure in find_measures(["cosine", "procrustes", "norm"])]
    ['[-1, 1]', '[0, 2]', '[0, inf)']
    """
    wanted = dict.fromkeys(DEFAULT_MEASURES if names is None else names)
    for name in wanted:
        if name not in MEASURES:
            raise unknown_name("measure", name, MEASURES)
    return tuple(MEASURES[name] for name in wanted)
