"""Every measure written a second time, plainly, with numpy and scipy: what the estimators must agree with.

Each oracle takes two layers' states ``[token, feature]`` and the lengths of the sequences; per-layer ones look at the second
layer (and block influence at both).
"""

from collections.abc import Callable

import numpy as np
from scipy.linalg import orthogonal_procrustes, svdvals
from scipy.spatial.distance import cosine as cosine_distance
from scipy.stats import entropy

Oracle = Callable[[np.ndarray, np.ndarray, list[int]], float]


def _sequences(X: np.ndarray, lengths: list[int]) -> list[np.ndarray]:
    return np.split(X, np.cumsum(lengths)[:-1])


def cosine(X, Y, lengths):
    return float(np.mean([1 - cosine_distance(x, y) for x, y in zip(X, Y, strict=True)]))


def cosine_sequence(X, Y, lengths):
    pairs = zip(_sequences(X, lengths), _sequences(Y, lengths), strict=True)
    return float(np.mean([1 - cosine_distance(x.ravel(), y.ravel()) for x, y in pairs]))


def cosine_sequence_without_first(X, Y, lengths):
    pairs = zip(_sequences(X, lengths), _sequences(Y, lengths), strict=True)
    return float(np.mean([1 - cosine_distance(x[1:].ravel(), y[1:].ravel()) for x, y in pairs if len(x) > 1]))


def cosine_centered(X, Y, lengths):
    return cosine(X - X.mean(0), Y - Y.mean(0), lengths)


def hsic_1(K: np.ndarray, L: np.ndarray) -> float:
    """Write Song et al. 2012, eq. 5, as the paper has it."""
    n = len(K)
    K, L = K - np.diag(np.diag(K)), L - np.diag(np.diag(L))
    one = np.ones(n)
    whole = (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2))
    return float((np.sum(K * L.T) + whole - 2 / (n - 2) * (one @ K @ (L @ one))) / (n * (n - 3)))


def cka(X, Y, lengths):
    K, L = X @ X.T, Y @ Y.T
    return hsic_1(K, L) / np.sqrt(hsic_1(K, K) * hsic_1(L, L))


def cka_biased(X, Y, lengths):
    n = len(X)
    H = np.eye(n) - 1 / n
    K, L = H @ X @ X.T @ H, H @ Y @ Y.T @ H
    return float(np.sum(K * L) / np.sqrt(np.sum(K * K) * np.sum(L * L)))


def procrustes(X, Y, lengths):
    X, Y = X - X.mean(0), Y - Y.mean(0)
    width = max(X.shape[1], Y.shape[1])
    X, Y = (np.pad(Z / np.linalg.norm(Z), ((0, 0), (0, width - Z.shape[1]))) for Z in (X, Y))
    Q, _ = orthogonal_procrustes(X, Y)
    return float(np.sum((X @ Q - Y) ** 2))


def angular_distance(X, Y, lengths):
    last = np.cumsum(lengths) - 1
    return float(np.mean([np.arccos(1 - cosine_distance(X[t], Y[t])) / np.pi for t in last]))


def block_influence(X, Y, lengths):
    return 1 - cosine(X, Y, lengths)


def variance(X, Y, lengths):
    return float(np.mean(np.var(Y, axis=0)))


def norm(X, Y, lengths):
    return float(np.mean(np.sqrt(np.sum(Y**2, axis=1))))


def max_abs(X, Y, lengths):
    return float(np.max(np.abs(Y)))


def _spectrum(Y: np.ndarray) -> np.ndarray:
    return svdvals(Y - Y.mean(0)) ** 2


def participation_ratio(X, Y, lengths):
    values = _spectrum(Y)
    return float(values.sum() ** 2 / np.sum(values**2))


def effective_rank(X, Y, lengths):
    return float(np.exp(entropy(_spectrum(Y))))


ORACLES: dict[str, Oracle] = {
    oracle.__name__: oracle
    for oracle in (
        cosine,
        cosine_sequence,
        cosine_sequence_without_first,
        cosine_centered,
        cka,
        cka_biased,
        procrustes,
        angular_distance,
        block_influence,
        variance,
        norm,
        max_abs,
        participation_ratio,
        effective_rank,
    )
}
