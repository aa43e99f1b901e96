"""Measures that need the tokens themselves: which tokens they get, what is shared, what is refused and in which words."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist, pdist

from layerscope.errors import MeasureError
from layerscope.measures import context
from layerscope.measures.accumulators import row_sample
from layerscope.measures.analysis import analyze
from layerscope.measures.catalogue import MEASURES
from layerscope.measures.comparisons import distance_kernels
from layerscope.measures.estimators.sampled import COMPARISONS
from layerscope.measures.kernels import canonical
from layerscope.measures.kernels.bootstrap import deal_groups, half_masks, sequence_weights
from layerscope.measures.kernels.distances import squared_distances
from layerscope.measures.kernels.priority import row_priority
from tests.measures.captures import capture, walk
from tests.measures.oracles import ORACLES, Oracle, hsic_1

LENGTHS = [9, 6, 14, 8, 21, 12]
TOKENS = sum(LENGTHS)
NAMES = sorted(COMPARISONS)


def lowest(seed: int, size: int) -> np.ndarray:
    """Write out the seeded sample: the rows of lowest priority, in their order."""
    return np.sort(np.argsort(row_priority(np.arange(TOKENS), seed))[:size])


def lengths_of(rows: np.ndarray) -> list[int]:
    """Count the rows of each sequence that has some."""
    return np.unique(np.repeat(np.arange(len(LENGTHS)), LENGTHS)[rows], return_counts=True)[1].tolist()


@pytest.mark.parametrize("name", NAMES)
def test_beyond_the_rows_held_it_is_the_measure_of_the_seeded_sample(monkeypatch: pytest.MonkeyPatch, name: str):
    for module in (context, row_sample):
        monkeypatch.setattr(module, "EXACT_TOKENS", 40)
    states = walk(TOKENS, 2, 5)
    found = analyze(capture(states, LENGTHS), measures=[name], seed=3)[name]
    kept = states[lowest(3, 40)]
    expected = ORACLES[name](kept[:, 0], kept[:, 1], lengths_of(lowest(3, 40)))
    assert found[0, 1].item() == pytest.approx(expected, rel=1e-9, abs=1e-10)
    assert (found.attrs["sample"], found.attrs["sample_seed"], found.attrs["tokens"]) == (40, 3, 40)
    assert found.attrs["estimator"].endswith("of a seeded sample of tokens")


def test_vectors_too_long_for_the_memory_are_of_fewer_tokens(monkeypatch: pytest.MonkeyPatch):
    states = walk(300, 2, 5)
    found = analyze(capture(states), measures=["rsa", "mutual_knn"], memory="500KB", seed=3)
    size = int((2 * 500_000 / 2 / (2 * 8)) ** 0.5)
    assert found["rsa"].attrs["sample"] == size
    kept = states[np.sort(np.argsort(row_priority(np.arange(300), 3))[:size])]
    assert found["rsa"][0, 1].item() == pytest.approx(ORACLES["rsa"](kept[:, 0], kept[:, 1], []), abs=1e-10)
    assert "sample" not in found["mutual_knn"].attrs
    assert found["mutual_knn"].attrs["neighbours"] == 10


def test_kendall_takes_512_tokens():
    found = analyze(capture(walk(600, 2, 5)), measures=["rsa_kendall"])["rsa_kendall"]
    assert (found.attrs["tokens"], found.attrs["sample"]) == (512, 512)


def test_a_layer_is_decomposed_once_whatever_the_pairs_and_measures(monkeypatch: pytest.MonkeyPatch):
    calls: list[int] = []
    decompose = canonical._decomposed
    monkeypatch.setattr(canonical, "_decomposed", lambda *args: (calls.append(1), decompose(*args))[1])
    names = ["cca_mean", "cca_r2", "svcca", "pwcca", "linear_r2"]
    analyze(capture(walk(TOKENS, 4, 5), LENGTHS), measures=names)
    assert len(calls) == 4


def fixed_width(states: np.ndarray) -> Oracle:
    """Write CKA with a kernel as wide for a half of the tokens as for all."""
    widths = [0.8 * np.median(pdist(states[:, layer])) for layer in range(2)]

    def oracle(X, Y, lengths):
        K, L = (np.exp(-(cdist(Z, Z) ** 2) / (2 * s**2)) for Z, s in zip((X, Y), widths, strict=True))
        return hsic_1(K, L) / np.sqrt(hsic_1(K, K) * hsic_1(L, L))

    return oracle


@pytest.mark.parametrize("name", NAMES)
def test_half_samples_are_the_measure_on_half_of_the_sequences(name: str):
    states = walk(TOKENS, 2, 5, seed=1)
    oracle = fixed_width(states) if name == "cka_rbf" else ORACLES[name]
    result = analyze(capture(states, LENGTHS), measures=[name], bootstrap=6, seed=4)
    group, groups = deal_groups(np.repeat(np.arange(len(LENGTHS)), LENGTHS), 4)
    found = []
    for mask in half_masks(groups, 6, 4):
        rows = np.flatnonzero(mask[group] > 0)
        found.append(oracle(states[rows, 0], states[rows, 1], lengths_of(rows)))
    value = ORACLES[name](states[:, 0], states[:, 1], LENGTHS)
    shifted = np.array(found) - np.mean(found) + value
    np.testing.assert_allclose(result[f"{name}_bootstrap"][:, 0, 1], shifted, atol=1e-6)


@pytest.mark.parametrize("replicates", [3, 30])  # fewer than sequences, and more: the means keep different sums
def test_replicates_of_means_are_those_of_drawn_sequences(replicates: int):
    name = "magnitude_difference"
    states = walk(TOKENS, 2, 5, seed=1)
    result = analyze(capture(states, LENGTHS), measures=[name], bootstrap=replicates, seed=3)
    parts = np.split(states, np.cumsum(LENGTHS)[:-1])
    expected = []
    for row in sequence_weights(len(LENGTHS), replicates, 3):
        drawn = np.concatenate([parts[index] for index, times in enumerate(row) for _ in range(int(times))])
        expected.append(ORACLES[name](drawn[:, 0], drawn[:, 1], []))
    np.testing.assert_allclose(result[f"{name}_bootstrap"][:, 0, 1], expected, rtol=1e-5, atol=1e-6)


def _refused(states: np.ndarray, name: str, lengths: list[int] | None = None, **options: int) -> str:
    with pytest.raises(MeasureError) as refusal:
        analyze(capture(states, lengths), measures=[name], **options)
    return str(refusal.value)


def test_refusals_say_which_layer_and_what_it_would_return():
    states = walk(TOKENS, 3, 5)
    assert _refused(walk(8, 2, 20), "cca_mean") == (
        "layer 0 (embedding): cca_mean has no meaning there, because its 8 tokens fill all 7 directions "
        "that so many tokens can fill: it is 1 for any other layer. Take more tokens than features; leave cca_mean out"
    )
    flat = states.copy()
    flat[7, 1] = 2.5
    assert "layer 1 (block.0): rsa has no meaning there, because a token of it has one value in all its features" in (
        _refused(flat, "rsa")
    )
    none = states.copy()
    none[7, 2] = 0
    for name in ("mutual_knn", "uniformity_difference"):
        assert f"layer 2 (block.1): {name} has no meaning there, because a token of it is all zero" in _refused(
            none, name
        )
    same = states.copy()
    same[1:, 1] = same[0, 1]
    same[-1, 1] += 1
    assert (
        "layer 1 (block.0): cka_rbf has no meaning there, because at least half of all pairs of its tokens are equal"
        in (_refused(same, "cka_rbf"))
    )
    ray = np.ones(5) + np.arange(5)
    beam = states.copy()
    beam[:, 1] = ray * np.linspace(1, 2, TOKENS)[:, None]
    for name in ("rsa", "rsa_pearson", "rsa_cosine", "rsa_kendall", "cknna"):
        text = f"layer 1 (block.0): {name} has no meaning there, because its tokens are all equally alike"
        assert text in _refused(beam, name), name


def test_intervals_refuse_halves_that_are_too_small():
    lengths = [3] * 4
    text = _refused(walk(12, 2, 6), "cca_mean", lengths, bootstrap=5)
    assert (
        "cca_mean has no meaning on half of the sequences, which an interval takes, because its 6 tokens fill" in text
    )
    text = _refused(walk(12, 2, 6), "mutual_knn", lengths, bootstrap=5)
    assert "because 6 tokens leave no choice of 10 neighbours" in text
    text = _refused(walk(4, 2, 6), "cka_rbf", [1] * 4, bootstrap=5)
    assert "cka_rbf has no meaning on half of the sequences, which an interval takes, because it needs 4 tokens" in text


def test_equal_neighbours_stand_in_the_order_of_their_rows():
    """Twenty equal tokens: each one's neighbours are the first ten others, at both layers, so they are all shared."""
    states = walk(32, 2, 6)
    states[6:26] = states[6]
    found = analyze(capture(states), measures=["mutual_knn", "rank_similarity"])
    for name in found.data_vars:
        if name in MEASURES:
            assert found[name][0, 1].item() == pytest.approx(ORACLES[name](states[:, 0], states[:, 1], []), abs=1e-12)


def test_dissimilarities_equal_but_for_rounding_have_equal_ranks():
    """Of two features only their order counts, so dissimilarities are 0 or 2, and ranks are of two values."""
    states = walk(TOKENS, 2, 2)
    order = np.sign(states[:, :, 0] - states[:, :, 1])
    first, second = (pdist(order[:, [layer]], "hamming") for layer in range(2))
    found = analyze(capture(states, LENGTHS), measures=["rsa"])["rsa"][0, 1].item()
    assert found == pytest.approx(np.corrcoef(first, second)[0, 1], abs=1e-12)


def test_distances_of_nearly_equal_tokens_keep_their_digits():
    rng = np.random.default_rng(0)
    states = rng.normal(size=(3, 40, 7)) * 1e3
    states[:, 20:] = states[:, :20] + rng.normal(size=(3, 20, 7)) * 1e-7
    states[:, 39] = states[:, 3]
    found = squared_distances(torch.from_numpy(states), torch.from_numpy(states)).sqrt().numpy()
    for layer, X in enumerate(states):
        np.testing.assert_allclose(found[layer], cdist(X, X), rtol=1e-9)
    assert found[:, 39, 3].max() == 0


def test_a_wide_kernel_tends_to_the_linear_one(monkeypatch: pytest.MonkeyPatch):
    states = walk(TOKENS, 2, 5)
    linear = analyze(capture(states, LENGTHS), measures=["cka"])["cka"][0, 1].item()
    apart = []
    for width in (0.8, 8.0, 80.0):
        monkeypatch.setattr(distance_kernels, "WIDTH", width)
        apart.append(abs(analyze(capture(states, LENGTHS), measures=["cka_rbf"])["cka_rbf"][0, 1].item() - linear))
    assert apart[0] > 5 * apart[1]
    assert apart[1] > 50 * apart[2]


def test_layers_that_lack_directions_are_right():
    """Features that are constant, doubled or sums of others add no direction."""
    states = walk(TOKENS, 2, 7)
    states[:, :, 4] = 3.25
    states[:, :, 5] = states[:, :, 0]
    states[:, :, 6] = states[:, :, 1] - 2 * states[:, :, 2]
    for name in ("cca_mean", "cca_r2", "svcca", "pwcca", "linear_r2", "eigenspace_overlap"):
        found = analyze(capture(states, LENGTHS), measures=[name])[name][0, 1].item()
        assert found == pytest.approx(ORACLES[name](states[:, 0], states[:, 1], []), abs=1e-10), name
        assert 0 < found < 1
