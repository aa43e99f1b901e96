"""Ranks, entropies and decay of one cloud of tokens, from the spectrum of its covariance, which is decomposed once."""

import math
from collections.abc import Callable
from functools import cached_property

import torch
from jaxtyping import Float

from layerscope.measures.kernels.undefined import Undefined

__all__ = [
    "Spectrum",
    "alpha_req",
    "alpha_req_weighted",
    "effective_rank",
    "fit_ranks",
    "isoscore",
    "matrix_entropy",
    "participation_ratio",
    "rankme",
    "stable_rank",
]


class Spectrum:
    """The eigenvalues of the centred covariance of a layer, computed once, when first used.

    Parameters
    ----------
    covariance
        Covariance of features, or Gram matrix of centred tokens, which has the same non-zero eigenvalues; any scale.
    tokens, features
        Number of tokens and features. At most ``min(features, tokens - 1)`` eigenvalues, `possible`, can differ from zero.
    rank
        Function of the smallest singular value that returns the number of eigenvalues above the rounding error of the states
        (see `Noise.rank`).

    Examples
    --------
    >>> Spectrum(torch.diag(torch.tensor([1.0, 3.0], dtype=torch.float64)), tokens=9, features=2).eigenvalues
    tensor([3., 1.], dtype=torch.float64)
    """

    def __init__(
        self,
        covariance: Float[torch.Tensor, "n n"],
        tokens: int,
        features: int,
        rank: Callable[[float], int | None] | None = None,
    ) -> None:
        self.covariance = covariance
        self.rank = rank
        self.features = features
        self.possible = min(features, tokens - 1)

    @cached_property
    def eigenvalues(self) -> Float[torch.Tensor, " rank"]:
        """The eigenvalues, largest first; those within the rounding error of the states or of their products are set to zero."""
        values: torch.Tensor = torch.linalg.eigvalsh(self.covariance).flip(0)[: self.possible]
        values = values.where(values > values[0] * len(self.covariance) * torch.finfo(values.dtype).eps, 0)
        rank = None if self.rank is None else self.rank(float(values[-1]) ** 0.5)
        if rank is not None:
            values[rank:] = 0
        return values

    @cached_property
    def shares(self) -> Float[torch.Tensor, " rank"]:
        """The eigenvalues divided by their sum."""
        return self.eigenvalues / self.eigenvalues.sum()


def participation_ratio(spectrum: Spectrum) -> float:
    r"""Compute $(\sum\lambda)^2/\sum\lambda^2$, from the trace and the Frobenius norm without eigenvalues.

    Examples
    --------
    >>> participation_ratio(Spectrum(torch.diag(torch.tensor([2.0, 2.0, 0.0], dtype=torch.float64)), 9, 3))
    2.0
    """
    return float(spectrum.covariance.trace() ** 2 / spectrum.covariance.square().sum())


def isoscore(spectrum: Spectrum) -> float:
    r"""Compute IsoScore: 0 for a cloud along one direction, 1 for a cloud with the same variance in all directions.

    The nine steps of Rudman et al. are equivalent to $(r-1)/(p-1)$ with $r$ the participation ratio: with the eigenvalues
    scaled to length $\sqrt p$, the isotropy defect $\delta$ has $\delta^2=(p-\sqrt{pr})/(p-\sqrt p)$, so that
    $(p-\delta^2(p-\sqrt p))^2/p^2=r/p$.

    Raises
    ------
    Undefined
        There is a single feature.

    Examples
    --------
    >>> isoscore(Spectrum(torch.diag(torch.tensor([2.0, 2.0, 0.0], dtype=torch.float64)), 9, 3))
    0.5
    """
    if spectrum.features < 2:
        raise Undefined("it has a single feature")
    return (participation_ratio(spectrum) - 1) / (spectrum.features - 1)


def stable_rank(spectrum: Spectrum) -> float:
    r"""Compute $\sum_i\lambda_i/\lambda_1$, for the centred states $\|X_c\|_F^2/\|X_c\|_2^2$.

    Examples
    --------
    >>> stable_rank(Spectrum(torch.diag(torch.tensor([2.0, 1.0, 1.0], dtype=torch.float64)), 9, 3))
    2.0
    """
    return float(spectrum.covariance.trace() / spectrum.eigenvalues[0])


def matrix_entropy(spectrum: Spectrum) -> float:
    r"""Compute $-\sum_i q_i\ln q_i$ with $q=\lambda/\sum\lambda$, in nats.

    Examples
    --------
    >>> round(matrix_entropy(Spectrum(torch.eye(3, dtype=torch.float64), 9, 3)) / math.log(3), 12)
    1.0
    """
    return _entropy(spectrum.shares)


def effective_rank(spectrum: Spectrum) -> float:
    r"""Compute $\exp(-\sum_i q_i\ln q_i)$ with $q=\lambda/\sum\lambda$.

    Examples
    --------
    >>> round(effective_rank(Spectrum(torch.diag(torch.tensor([2.0, 2.0, 0.0], dtype=torch.float64)), 9, 3)), 12)
    2.0
    """
    return math.exp(_entropy(spectrum.shares))


def rankme(spectrum: Spectrum) -> float:
    r"""Compute $\exp(-\sum_i q_i\ln q_i)$ with $q=\sigma/\sum\sigma$ of the singular values $\sigma=\sqrt\lambda$.

    Examples
    --------
    >>> round(rankme(Spectrum(torch.diag(torch.tensor([9.0, 9.0, 0.0], dtype=torch.float64)), 9, 3)), 12)
    2.0
    """
    singular = spectrum.eigenvalues.sqrt()
    return math.exp(_entropy(singular / singular.sum()))


def fit_ranks(possible: int) -> tuple[int, int]:
    """Return the first and last rank, from 1, that `alpha_req` is fitted to.

    The fit leaves out the first tenth (at most ten ranks), where a few large eigenvalues follow no law, the lower half, which
    depends on the number of tokens, and all ranks above 500.

    Examples
    --------
    >>> fit_ranks(576), fit_ranks(4096), fit_ranks(6), fit_ranks(2)
    ((11, 288), (11, 500), (1, 3), (1, 2))
    """
    return min(11, 1 + possible // 10), min(500, max(2, (possible + 1) // 2))


def alpha_req(spectrum: Spectrum) -> float:
    r"""Compute the exponent $\alpha$ of $\lambda_i\propto i^{-\alpha}$.

    It is fitted by least squares of $\ln\lambda_i$ on $\ln i$ over the ranks of `fit_ranks` whose eigenvalue is not zero.

    Raises
    ------
    Undefined
        Fewer than two eigenvalues are left.

    Examples
    --------
    >>> decay = torch.arange(1, 41, dtype=torch.float64) ** -1.5
    >>> round(alpha_req(Spectrum(torch.diag(decay), 99, 40)), 12)
    1.5
    """
    return _decay(spectrum, weigh=torch.ones_like)


def alpha_req_weighted(spectrum: Spectrum) -> float:
    r"""Compute the exponent $\alpha$ of $\lambda_i\propto i^{-\alpha}$ like `alpha_req`, with rank i weighted by $1/i$.

    Raises
    ------
    Undefined
        Fewer than two eigenvalues are left.

    Examples
    --------
    >>> decay = torch.arange(1, 41, dtype=torch.float64) ** -1.5
    >>> round(alpha_req_weighted(Spectrum(torch.diag(decay), 99, 40)), 12)
    1.5
    """
    return _decay(spectrum, weigh=torch.reciprocal)


def _decay(spectrum: Spectrum, weigh: Callable[[torch.Tensor], torch.Tensor]) -> float:
    """Compute minus the slope of the weighted least-squares line of log eigenvalue on log rank."""
    first, last = fit_ranks(spectrum.possible)
    values = spectrum.eigenvalues[first - 1 : last]
    values = values[values > 0]
    if len(values) < 2:
        raise Undefined("its states spread in too few directions")
    rank = torch.arange(first, first + len(values), dtype=torch.float64)
    weight = weigh(rank)
    log_rank = rank.log() - (weight @ rank.log()) / weight.sum()
    return -float((weight * log_rank) @ values.log() / (weight @ log_rank.square()))


def _entropy(shares: Float[torch.Tensor, " rank"]) -> float:
    return -float(torch.special.xlogy(shares, shares).sum())
