"""Time each measure between layers, relative to a loop over the pairs of layers and to other libraries.

States are random: each layer is the one before plus new noise. The matrix is the full one of `analyze`. The loops compute each
pair from the states by the textbook formula, with decompositions in float64 as in LayerScope. They are timed on a few pairs,
and the fastest is multiplied by the number of pairs, which all cost the same. rsatoolbox prepares each layer once; it is timed
on a few layers and multiplied by the number of layers, which leaves out its cost of pairs. Run it on an idle machine; on a busy
one use OMP_NUM_THREADS=1, because threads that wait for each other slow the loops down::

    python benchmarks/measures.py [--layers 31] [--tokens 4096] [--features 576] [--measures cka,rsa] [--pairs 2]
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
import xarray
from scipy.optimize import linear_sum_assignment
from scipy.stats import kendalltau, spearmanr

from layerscope.measures.analysis import analyze
from layerscope.measures.catalogue import MEASURES
from layerscope.measures.comparisons.dissimilarities import KENDALL_TOKENS
from layerscope.measures.record import Kind

SEQUENCE = 64
State = torch.Tensor
Loop = Callable[[State, State], object]


def states(layers: int, tokens: int, features: int) -> torch.Tensor:
    """Draw states ``[layer, token, feature]`` whose neighbouring layers are similar and whose features differ in scale."""
    random = torch.Generator().manual_seed(0)
    steps = torch.randn(layers, tokens, features, generator=random) * torch.rand(features, generator=random).exp()
    return steps.cumsum(0)


def as_capture(hidden: torch.Tensor) -> xarray.Dataset:
    layers, tokens, _ = hidden.shape
    names = ["embedding", *(f"block.{block}" for block in range(layers - 1))]
    number = np.arange(tokens)
    return xarray.Dataset(
        {"hidden": (("token", "layer", "feature"), hidden.transpose(0, 1).contiguous().numpy())},
        {"layer": np.arange(layers), "layer_name": ("layer", names)}
        | {name: ("token", values) for name, values in _places(number).items()},
    )


def _places(number: np.ndarray) -> dict[str, np.ndarray]:
    return {"sequence_index": number // SEQUENCE, "position": number % SEQUENCE, "token_id": number % 97}


def centred(X: State) -> State:
    return X - X.mean(0)


def cosine(X: State, Y: State) -> object:
    return torch.cosine_similarity(X, Y).mean()


def gram_criterion(K: State, L: State) -> float:
    n = len(K)
    K, L = K.clone().fill_diagonal_(0), L.clone().fill_diagonal_(0)
    rest = K.sum() * L.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (K.sum(0) @ L.sum(0))
    return float(((K * L).sum() + rest) / (n * (n - 3)))


def aligned(K: State, L: State) -> object:
    return gram_criterion(K, L) / (gram_criterion(K, K) * gram_criterion(L, L)) ** 0.5


def cka(X: State, Y: State) -> object:
    return aligned(X @ X.T, Y @ Y.T)


def cka_biased(X: State, Y: State) -> object:
    X, Y = centred(X), centred(Y)
    return (X.T @ Y).norm() ** 2 / ((X.T @ X).norm() * (Y.T @ Y).norm())


def gaussian(X: State) -> State:
    distance = torch.cdist(X, X)
    return torch.exp(-((distance / (0.8 * distance[:1024, :1024].median())) ** 2) / 2)


def cka_rbf(X: State, Y: State) -> object:
    return aligned(gaussian(X), gaussian(Y))


def distance_correlation(X: State, Y: State) -> object:
    A, B = (torch.cdist(Z, Z) for Z in (X, Y))
    A, B = (D - D.mean(0) - D.mean(1, keepdim=True) + D.mean() for D in (A, B))
    return ((A * B).sum() / ((A * A).sum() * (B * B).sum()).sqrt()).sqrt()


def nuclear(X: State, Y: State) -> object:
    X, Y = centred(X), centred(Y)
    return torch.linalg.svdvals((X.T @ Y).double()).sum() / (X.norm() * Y.norm())


def bases(X: State, Y: State) -> State:
    return torch.linalg.qr(centred(X).double()).Q.T @ torch.linalg.qr(centred(Y).double()).Q


def cca_mean(X: State, Y: State) -> object:
    return torch.linalg.svdvals(bases(X, Y)).mean()


def svcca(X: State, Y: State) -> object:
    kept = []
    for Z in (X, Y):
        U, s, _ = torch.linalg.svd(centred(Z).double(), full_matrices=False)
        power = s.square().cumsum(0)
        kept.append(U[:, : 1 + int((power < 0.99 * power[-1]).sum())])
    return torch.linalg.svdvals(kept[0].T @ kept[1]).mean()


def pwcca(X: State, Y: State) -> object:
    Q = torch.linalg.qr(centred(X).double()).Q
    turn, correlation, _ = torch.linalg.svd(Q.T @ torch.linalg.qr(centred(Y).double()).Q)
    weight = ((Q @ turn).T @ centred(X).double()).abs().sum(1)
    return (weight * correlation).sum() / weight.sum()


def linear_r2(X: State, Y: State) -> object:
    X = centred(X).double()
    return (torch.linalg.qr(centred(Y).double()).Q.T @ X).norm() ** 2 / X.norm() ** 2


def eigenspace_overlap(X: State, Y: State) -> object:
    return (torch.linalg.qr(X.double()).Q.T @ torch.linalg.qr(Y.double()).Q).norm() ** 2 / X.shape[1]


def rdm(X: State, tokens: int | None = None) -> np.ndarray:
    correlation = torch.corrcoef(X[:tokens].double()).numpy()
    return 1 - correlation[np.triu_indices(len(correlation), 1)]


def rsa(X: State, Y: State) -> object:
    return spearmanr(rdm(X), rdm(Y))


def rsa_kendall(X: State, Y: State) -> object:
    return kendalltau(rdm(X, KENDALL_TOKENS), rdm(Y, KENDALL_TOKENS))


def rsa_pearson(X: State, Y: State) -> object:
    return np.corrcoef(rdm(X), rdm(Y))


def rsa_cosine(X: State, Y: State) -> object:
    first, second = rdm(X), rdm(Y)
    return first @ second / np.sqrt((first @ first) * (second @ second))


def nearest(X: State) -> State:
    unit = X / X.norm(dim=1, keepdim=True)
    return (unit @ unit.T).fill_diagonal_(-2).topk(10, dim=1).indices


def mutual_knn(X: State, Y: State) -> object:
    return (nearest(X)[:, :, None] == nearest(Y)[:, None]).any(2).double().mean()


def correlations(X: State, Y: State) -> State:
    X, Y = centred(X), centred(Y)
    return (X / X.norm(dim=0)).T @ (Y / Y.norm(dim=0))


def correlation_match_soft(X: State, Y: State) -> object:
    return correlations(X, Y).max(1).values.mean()


def correlation_match_hard(X: State, Y: State) -> object:
    matrix = correlations(X, Y).numpy()
    return matrix[linear_sum_assignment(matrix, maximize=True)].mean()


def uniformity(X: State) -> float:
    unit = X / X.norm(dim=1, keepdim=True)
    potential = torch.exp(4 * (unit @ unit.T) - 4).fill_diagonal_(0)
    return float((potential.sum() / (len(unit) * (len(unit) - 1))).log())


def uniformity_difference(X: State, Y: State) -> object:
    return abs(uniformity(X) - uniformity(Y))


def magnitude_difference(X: State, Y: State) -> object:
    return abs(X.mean(0).norm() - Y.mean(0).norm())


_WRITTEN_DOWN: tuple[Loop, ...] = (
    cosine,
    cka,
    cka_biased,
    cka_rbf,
    distance_correlation,
    cca_mean,
    svcca,
    pwcca,
    linear_r2,
    eigenspace_overlap,
    rsa,
    rsa_kendall,
    rsa_pearson,
    rsa_cosine,
    mutual_knn,
    correlation_match_soft,
    correlation_match_hard,
    uniformity_difference,
    magnitude_difference,
)
LOOPS = {loop.__name__: loop for loop in _WRITTEN_DOWN} | {
    "procrustes": nuclear,
    "shape_angle": nuclear,
    "cca_r2": cca_mean,
    "knn_jaccard": mutual_knn,
}


def ckatorch(kernel: str) -> Loop:
    from ckatorch.core import cka_base

    return lambda X, Y: cka_base(X, Y, kernel=kernel, method="fro_norm")


def rsatoolbox(method: str, tokens: int | None = None) -> Callable[[torch.Tensor], object]:
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm, compare

    def run(hidden: torch.Tensor) -> object:
        rdms = calc_rdm([Dataset(layer[:tokens].double().numpy()) for layer in hidden], method="correlation")
        return compare(rdms, rdms, method=method)

    return run


def others(names: set[str]) -> dict[str, tuple[str, Loop | None, Callable[[torch.Tensor], object] | None]]:
    """Return the other libraries that have each measure, computed by pairs or by layers."""
    methods = {"rsa": "spearman", "rsa_pearson": "corr", "rsa_cosine": "cosine", "rsa_kendall": "tau-b"}
    libraries: dict[str, tuple[str, Loop | None, Callable[[torch.Tensor], object] | None]] = {}
    try:
        libraries |= {
            "cka_biased": ("ckatorch", ckatorch("linear"), None),
            "cka_rbf": ("ckatorch", ckatorch("rbf"), None),
        }
        for name, method in methods.items():
            tokens = KENDALL_TOKENS if name == "rsa_kendall" else None
            libraries[name] = ("rsatoolbox", None, rsatoolbox(method, tokens))
    except ImportError as missing:
        print(f"{missing}: for the other libraries, pip install 'layerscope[benchmarks]'")
    return {name: other for name, other in libraries.items() if name in names}


def seconds(job: Callable[[], object]) -> float:
    started = time.perf_counter()
    job()
    return time.perf_counter() - started


def by_pairs(loop: Loop, hidden: torch.Tensor, pairs: int, all_pairs: int) -> float:
    chosen = [np.random.default_rng(seed).choice(len(hidden), 2, replace=False) for seed in range(pairs)]
    return min(seconds(lambda pair=pair: loop(hidden[pair[0]], hidden[pair[1]])) for pair in chosen) * all_pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=31)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--features", type=int, default=576)
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--measures", default=",".join(m.name for m in MEASURES.values() if m.kind is Kind.PAIRWISE))
    options = parser.parse_args()
    names = options.measures.split(",")
    hidden = states(options.layers, options.tokens, options.features)
    capture = as_capture(hidden)
    rivals = others(set(names))
    print(f"{options.layers} layers, {options.tokens:,} tokens, {options.features} features, float32; ")
    print(f"{torch.get_num_threads()} threads; loops timed on {options.pairs} pairs, rsatoolbox on as many layers")
    print(f"{'measure':30} {'seconds':>8} {'loop':>9} {'times':>7}  other library")
    analyze(capture.isel(token=slice(256)), measures=names[:1])
    for name in names:
        own = seconds(lambda name=name: analyze(capture, measures=[name]))
        both = options.layers * (options.layers - 1)
        pairs = both // 2 if MEASURES[name].symmetric else both
        loop = by_pairs(LOOPS[name], hidden, options.pairs, pairs) if name in LOOPS else None
        line = f"{name:30} {own:8.1f} " + (f"{loop:9.1f} {loop / own:7.1f}" if loop else f"{'':9} {'':7}")
        if name in rivals:
            library, by_pair, by_layer = rivals[name]
            if by_pair is not None:
                other = by_pairs(by_pair, hidden, options.pairs, pairs)
            else:
                assert by_layer is not None
                # Kendall's tau is no matrix product: its cost is the pairs, so all of them run.
                layers = options.layers if name == "rsa_kendall" else options.pairs
                other = seconds(lambda by=by_layer, few=layers: by(hidden[:few])) * options.layers / layers
            line += f"  {library}: {other:.1f} s, {other / own:.1f} times"
        print(line, flush=True)
    print("all of them in one analysis:", round(seconds(lambda: analyze(capture, measures=names)), 1), "s")


if __name__ == "__main__":
    main()
