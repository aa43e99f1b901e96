"""Every measure written a second time, plainly, with numpy and scipy: what the estimators must agree with.

Each oracle takes two layers' states ``[token, feature]`` and the lengths of the sequences; per-layer ones look at the second
layer (and block influence at both).
"""

from collections.abc import Callable

import numpy as np
from scipy.linalg import eigh, orth, orthogonal_procrustes, subspace_angles, svdvals
from scipy.optimize import linprog
from scipy.spatial.distance import cdist, pdist, squareform
from scipy.spatial.distance import cosine as cosine_distance
from scipy.stats import entropy, linregress, spearmanr
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from layerscope.measures.kernels.priority import row_priority
from tests.measures.captures import contributions

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


def _padded(X, Y):
    width = max(X.shape[1], Y.shape[1])
    return (np.pad(Z, ((0, 0), (0, width - Z.shape[1]))) for Z in (X, Y))


def procrustes_unnormalized(X, Y, lengths):
    X, Y = _padded(X - X.mean(0), Y - Y.mean(0))
    Q, _ = orthogonal_procrustes(X, Y)
    return float(np.sqrt(np.mean(np.sum((X @ Q - Y) ** 2, axis=1))))


def shape_angle(X, Y, lengths):
    X, Y = X - X.mean(0), Y - Y.mean(0)
    return float(np.arccos(min(1, svdvals(X.T @ Y).sum() / np.linalg.norm(X) / np.linalg.norm(Y))))


def cka_rbf(X, Y, lengths):
    K, L = (np.exp(-0.5 * (squareform(d) / (0.8 * np.median(d))) ** 2) for d in (pdist(X), pdist(Y)))
    return hsic_1(K, L) / np.sqrt(hsic_1(K, K) * hsic_1(L, L))


def distance_correlation(X, Y, lengths):
    A, B = (squareform(pdist(Z)) for Z in (X, Y))
    A, B = (D - D.mean(0) - D.mean(1)[:, None] + D.mean() for D in (A, B))
    return float(np.sqrt(np.mean(A * B) / np.sqrt(np.mean(A * A) * np.mean(B * B))))


def _dissimilarities(X, Y):
    return (np.round(pdist(Z, "correlation"), 12) for Z in (X, Y))


def rsa(X, Y, lengths):
    return float(spearmanr(*_dissimilarities(X, Y)).statistic)


def rsa_kendall(X, Y, lengths):
    """Count concordant and discordant pairs of pairs, as in Kendall 1945."""
    a, b = (np.sign(d[:, None] - d) for d in _dissimilarities(X, Y))
    return float(np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b)))


def rsa_pearson(X, Y, lengths):
    return float(np.corrcoef(*_dissimilarities(X, Y))[0, 1])


def rsa_cosine(X, Y, lengths):
    return float(1 - cosine_distance(*_dissimilarities(X, Y)))


def _projector(X):
    """Project onto what the columns span, by the pseudoinverse."""
    return X @ np.linalg.pinv(X, rcond=1e-12)


def _canonical(X, Y):
    """Take the canonical correlations as cosines of the angles between two column spaces."""
    return np.cos(subspace_angles(orth(X - X.mean(0), 1e-12), orth(Y - Y.mean(0), 1e-12)))


def cca_mean(X, Y, lengths):
    return float(np.mean(_canonical(X, Y)))


def cca_r2(X, Y, lengths):
    P, Q = (_projector(Z - Z.mean(0)) for Z in (X, Y))
    return float(np.trace(P @ Q) / round(min(np.trace(P), np.trace(Q))))


def svcca(X, Y, lengths):
    kept = [PCA(0.99, svd_solver="full").fit_transform(Z) for Z in (X, Y)]
    return cca_mean(*kept, lengths)


def pwcca(X, Y, lengths):
    """Find the canonical variables as eigenvectors of the product of both projectors."""
    X = X - X.mean(0)
    P, Q = _projector(X), _projector(Y - Y.mean(0))
    count = round(min(np.trace(P), np.trace(Q)))
    square, variables = np.linalg.eigh(P @ Q @ P)
    weight = np.abs(variables[:, -count:].T @ X).sum(1)
    return float(np.average(np.sqrt(square[-count:]), weights=weight))


def pwcca_smaller(X, Y, lengths):
    ranks = [np.linalg.matrix_rank(Z - Z.mean(0), tol=1e-9) for Z in (X, Y)]
    return pwcca(X, Y, lengths) if ranks[0] <= ranks[1] else pwcca(Y, X, lengths)


def linear_r2_cv(X, Y, lengths):
    """Deal the sequences by the priority that the docs name, and let scikit-learn fit."""
    count = min(5, len(lengths))
    dealt = np.argsort(row_priority(np.arange(len(lengths)), 0), kind="stable")
    fold = np.repeat(np.argsort(dealt) % count, lengths)
    error = total = 0.0
    for k in range(count):
        rest, test = fold != k, fold == k
        predicted = LinearRegression().fit(Y[rest], X[rest]).predict(Y[test])
        error += np.sum((X[test] - predicted) ** 2)
        total += np.sum((X[test] - X[rest].mean(0)) ** 2)
    return float(1 - error / total)


def linear_r2(X, Y, lengths):
    predicted = LinearRegression().fit(Y, X).predict(Y)
    return float(r2_score(X, predicted, multioutput="variance_weighted"))


def eigenspace_overlap(X, Y, lengths):
    P, Q = _projector(X), _projector(Y)
    return float(np.trace(P @ Q) / round(max(np.trace(P), np.trace(Q))))


def _nearest(X):
    similarity = np.round(1 - cdist(X, X, "cosine"), 12)
    for token, row in enumerate(similarity):
        others = [other for other in np.argsort(-row, kind="stable").tolist() if other != token]
        yield token, others[:10], row


def _distinct(X, Y):
    """Leave out tokens that are equal to an earlier one in both layers."""
    rows = np.sort(np.unique(np.hstack([X, Y]), axis=0, return_index=True)[1])
    return X[rows], Y[rows]


def _over_tokens(score):
    def oracle(X, Y, lengths):
        X, Y = _distinct(X, Y)
        pairs = zip(_nearest(X), _nearest(Y), strict=True)
        return float(np.mean([score(token, N, M, x, y) for (token, N, x), (_, M, y) in pairs]))

    return oracle


def _jaccard(token, N, M, x, y):
    return len({*N} & {*M}) / len({*N} | {*M})


def _mutual(token, N, M, x, y):
    return sum(other in M for other in N) / 10


def _ranks(token, N, M, x, y):
    ranks = [(N.index(other) + 1, M.index(other) + 1) for other in N if other in M]
    total = sum(2 / ((1 + abs(r - q)) * (r + q)) for r, q in ranks)
    return total / sum(1 / i for i in range(1, len(ranks) + 1)) if ranks else 0.0


def _second_order(token, N, M, x, y):
    union = sorted({*N} | {*M})
    return 1 - cosine_distance(x[union], y[union])


def cknna(X, Y, lengths):
    X, Y = _distinct(X, Y)

    def align(X, Y):
        total = 0.0
        for (token, N, x), (_, M, y) in zip(_nearest(X), _nearest(Y), strict=True):
            x_mean, y_mean = (np.delete(row, token).mean() for row in (x, y))
            total += sum((x[other] - x_mean) * (y[other] - y_mean) for other in N if other in M)
        return total

    return float(align(X, Y) / np.sqrt(align(X, X) * align(Y, Y)))


def cknna_unbiased(X, Y, lengths):
    """Mask whole kernels, as the authors' code does."""
    X, Y = _distinct(X, Y)
    kernels, masks = [], []
    for Z in (X, Y):
        mask = np.zeros((len(Z), len(Z)))
        for token, near, _ in _nearest(Z):
            mask[token, near] = 1
        kernels.append(1 - cdist(Z, Z, "cosine"))
        masks.append(mask)
    (K, L), (M, N) = kernels, masks
    return hsic_1(K * M * N, L * M * N) / np.sqrt(hsic_1(K * M, K * M) * hsic_1(L * N, L * N))


def _correlations(X, Y):
    X, Y = (Z[:, np.ptp(Z, axis=0) > 0] for Z in (X, Y))
    return np.corrcoef(X, Y, rowvar=False)[: X.shape[1], X.shape[1] :]


def correlation_match_soft(X, Y, lengths):
    return float(np.mean(np.max(_correlations(X, Y), axis=1)))


def correlation_match_hard(X, Y, lengths):
    """Match by linear programming: its corners are the matches."""
    C = _correlations(X, Y)
    p, q = C.shape
    rows, columns = np.kron(np.eye(p), np.ones(q)), np.kron(np.ones(p), np.eye(q))
    A, b = np.concatenate([rows, columns]), np.ones(p + q)
    return float(-linprog(-C.ravel(), A_ub=A, b_ub=b, A_eq=[np.ones(p * q)], b_eq=[min(p, q)]).fun / min(p, q))


def permutation_procrustes(X, Y, lengths):
    """Try a matching by linear programming, then measure the distance it leaves."""
    X, Y = _padded(*((Z - Z.mean(0)) / np.linalg.norm(Z - Z.mean(0)) for Z in (X, Y)))
    p = X.shape[1]
    rows, columns = np.kron(np.eye(p), np.ones(p)), np.kron(np.ones(p), np.eye(p))
    match = linprog(-(X.T @ Y).ravel(), A_eq=np.concatenate([rows, columns]), b_eq=np.ones(2 * p)).x.reshape(p, p)
    return float(np.sum((X @ np.round(match) - Y) ** 2))


def concentricity_difference(X, Y, lengths):
    x, y = (np.mean([1 - cosine_distance(token, Z.mean(0)) for token in Z]) for Z in (X, Y))
    return float(abs(x - y))


def matrix_entropy_sequence(X, Y, lengths):
    shares = (svdvals(states) ** 2 for states in _sequences(Y, lengths))
    return float(np.mean([entropy(each) for each in shares]))


def magnitude_difference(X, Y, lengths):
    return float(abs(np.sqrt(np.sum(X.mean(0) ** 2)) - np.sqrt(np.sum(Y.mean(0) ** 2))))


def uniformity_difference(X, Y, lengths):
    x, y = (pdist(Z / np.linalg.norm(Z, axis=1, keepdims=True), "sqeuclidean") for Z in (X, Y))
    return float(abs(np.log(np.mean(np.exp(-2 * x))) - np.log(np.mean(np.exp(-2 * y)))))


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


def rankme(X, Y, lengths):
    # Centring takes a rank away: with fewer tokens than features the last singular value is rounding only.
    return float(np.exp(entropy(svdvals(Y - Y.mean(0))[: len(Y) - 1])))


def stable_rank(X, Y, lengths):
    centred = Y - Y.mean(0)
    return float(np.linalg.norm(centred, "fro") ** 2 / np.linalg.norm(centred, 2) ** 2)


def matrix_entropy(X, Y, lengths):
    gram = (Y - Y.mean(0)) @ (Y - Y.mean(0)).T
    gram = gram / np.trace(gram)
    return -float(np.trace(gram @ logm_of_positive(gram)))


def logm_of_positive(matrix: np.ndarray) -> np.ndarray:
    """Take the logarithm on the range of a positive semidefinite matrix, and nothing off it."""
    values, vectors = eigh(matrix)
    kept = values > 1e-13
    return (vectors[:, kept] * np.log(values[kept])) @ vectors[:, kept].T


def alpha_req(X, Y, lengths):
    n, p = Y.shape
    m = min(n - 1, p)
    first, last = min(11, 1 + m // 10), min(500, max(2, -(-m // 2)))
    rank, values = np.arange(1, m + 1), _spectrum(Y)[:m]
    kept = (rank >= first) & (rank <= last) & (values > 1e-13 * values[0])
    return -float(linregress(np.log(rank[kept]), np.log(values[kept])).slope)


def alpha_req_weighted(X, Y, lengths):
    n, p = Y.shape
    m = min(n - 1, p)
    first, last = min(11, 1 + m // 10), min(500, max(2, -(-m // 2)))
    rank, values = np.arange(1, m + 1), _spectrum(Y)[:m]
    kept = (rank >= first) & (rank <= last) & (values > 1e-13 * values[0])
    return -float(np.polyfit(np.log(rank[kept]), np.log(values[kept]), 1, w=1 / np.sqrt(rank[kept]))[0])


def isoscore(X, Y, lengths):
    """Follow the steps of Rudman et al. 2022, algorithm 1."""
    n = Y.shape[1]
    principal = (Y - Y.mean(0)) @ np.linalg.svd(Y - Y.mean(0))[2].T
    diagonal = np.var(principal, axis=0, ddof=1)
    diagonal = np.sqrt(n) * diagonal / np.linalg.norm(diagonal)
    defect = np.linalg.norm(diagonal - np.ones(n)) / np.sqrt(2 * (n - np.sqrt(n)))
    used = (n - defect**2 * (n - np.sqrt(n))) ** 2 / n**2
    return float((n * used - 1) / (n - 1))


def anisotropy(X, Y, lengths):
    return float(np.mean(1 - pdist(Y, "cosine")))


def two_nn(X, Y, lengths):
    different = np.array(sorted(set(map(tuple, Y))))
    nearest = np.sort(squareform(pdist(different)), axis=1)
    ratio = np.sort(nearest[:, 2] / nearest[:, 1])
    n, kept = len(different), int(0.9 * len(different))
    height = np.log(n) - np.log(n - np.arange(1, kept + 1))
    return float(np.linalg.lstsq(np.log(ratio[:kept])[:, None], height)[0][0])


def mle_dimension(X, Y, lengths):
    different = np.array(sorted(set(map(tuple, Y))))
    distance = np.sort(squareform(pdist(different)), axis=1)[:, 1:11]
    return float(1 / np.mean([np.log(row[9] / row[j]) for row in distance for j in range(9)]))


def curvature(X, Y, lengths):
    sequences = []
    for states in _sequences(Y, lengths):
        angles = []
        for one, two, three in zip(states, states[1:], states[2:], strict=False):
            before, after = two - one, three - two
            if before.any() and after.any():
                angles.append(np.arccos(before @ after / np.sqrt((before @ before) * (after @ after))))
        sequences += [np.mean(angles)] if angles else []
    return float(np.mean(sequences))


def _ratio(which):
    def ratio(X, Y, lengths):
        return float(np.mean(np.linalg.norm(which(X, Y), axis=1) / np.linalg.norm(X, axis=1)))

    return ratio


def _direction(which):
    def direction(X, Y, lengths):
        return float(np.mean([1 - cosine_distance(added, x) for added, x in zip(which(X, Y), X, strict=True)]))

    return direction


ADDED = {
    "attn": lambda X, Y: contributions(X, Y)[0],
    "mlp": lambda X, Y: contributions(X, Y)[1],
    "update": lambda X, Y: Y - X,
}

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
        shape_angle,
        cka_rbf,
        distance_correlation,
        rsa,
        rsa_kendall,
        rsa_pearson,
        rsa_cosine,
        cca_mean,
        cca_r2,
        svcca,
        pwcca,
        pwcca_smaller,
        linear_r2_cv,
        linear_r2,
        eigenspace_overlap,
        cknna,
        correlation_match_soft,
        correlation_match_hard,
        permutation_procrustes,
        concentricity_difference,
        matrix_entropy_sequence,
        magnitude_difference,
        uniformity_difference,
        angular_distance,
        block_influence,
        variance,
        norm,
        max_abs,
        participation_ratio,
        effective_rank,
        rankme,
        stable_rank,
        matrix_entropy,
        alpha_req,
        alpha_req_weighted,
        isoscore,
        anisotropy,
        two_nn,
        mle_dimension,
        cknna_unbiased,
        procrustes_unnormalized,
        curvature,
    )
} | {
    "knn_jaccard": _over_tokens(_jaccard),
    "mutual_knn": _over_tokens(_mutual),
    "rank_similarity": _over_tokens(_ranks),
    "second_order_cosine": _over_tokens(_second_order),
    **{f"{name}_ratio": _ratio(which) for name, which in ADDED.items()},
    **{f"{name}_cosine": _direction(which) for name, which in ADDED.items()},
}
