"""CKA: exact where tokens are few, minibatches of a seeded permutation where they are many."""

import numpy as np
import pytest

from layerscope.errors import MeasureError
from layerscope.measures.analysis import analyze
from tests.measures.captures import capture, walk
from tests.measures.estimators.test_estimator import few_rows
from tests.measures.oracles import cka, hsic_1

LENGTHS = [11, 30, 6, 20, 16]
TOKENS = sum(LENGTHS)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    few_rows(monkeypatch)


def minibatches(X: np.ndarray, Y: np.ndarray, seed: int, size: int) -> float:
    """Write the minibatch estimator as MEASURES.md has it."""
    batches = np.array_split(np.random.default_rng(seed).permutation(len(X)), len(X) // size)
    grams = [(X[b] @ X[b].T, Y[b] @ Y[b].T) for b in batches]
    over = np.mean([hsic_1(K, L) for K, L in grams])
    left, right = np.mean([hsic_1(K, K) for K, _ in grams]), np.mean([hsic_1(L, L) for _, L in grams])
    return float(over / np.sqrt(left * right))


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("memory", ["4GB", "1KB"])
@pytest.mark.parametrize("seed", [0, 7])
def test_minibatches_of_the_seeded_permutation(memory: str, seed: int):
    states = walk(TOKENS, 3, 6)
    found = analyze(capture(states, LENGTHS), measures=["cka"], memory=memory, seed=seed)["cka"]
    for layer, other in ((0, 1), (1, 2), (0, 2)):
        expected = minibatches(states[:, layer], states[:, other], seed, 10)
        assert found[layer, other].item() == pytest.approx(expected, rel=1e-10)
    # 83 tokens in 8 batches: the remainder is spread.
    assert (found.attrs["batches"], found.attrs["batch_size"], found.attrs["batch_seed"]) == (8, 11, seed)


@pytest.mark.usefixtures("small_batches")
def test_excluded_tokens_are_in_no_batch():
    states = walk(TOKENS, 2, 6)
    kept = np.concatenate([np.arange(length) for length in LENGTHS]) >= 2
    states[~kept] = 1e6
    found = analyze(capture(states, LENGTHS), measures=["cka"], exclude_first=2)["cka"]
    assert found[0, 1].item() == pytest.approx(minibatches(states[kept, 0], states[kept, 1], 0, 10), rel=1e-10)
    assert found.attrs["tokens"] == kept.sum()


def test_up_to_4096_tokens_are_one_batch():
    states = walk(4096, 2, 3, seed=1)
    one = analyze(capture(states), measures=["cka"])["cka"]
    assert (one.attrs["batches"], one.attrs["batch_size"]) == (1, 4096)
    assert one[0, 1].item() == pytest.approx(cka(states[:, 0], states[:, 1], []), rel=1e-9)
    more = analyze(capture(walk(4097, 2, 3, seed=1)), measures=["cka"])["cka"]
    assert (more.attrs["batches"], more.attrs["batch_size"]) == (4, 1025)


def test_debiased_is_not_high_by_chance():
    rng = np.random.default_rng(0)
    states = rng.normal(size=(256, 2, 512))
    result = analyze(capture(states), measures=["cka", "cka_biased"])
    assert abs(result["cka"][0, 1].item()) < 0.01
    assert result["cka_biased"][0, 1].item() == pytest.approx(0.67, abs=0.02)


def test_tokens_all_equally_alike_are_refused():
    states = np.eye(20)[:, None].repeat(2, axis=1)
    with pytest.raises(
        MeasureError, match=r"layer 0 \(embedding\): cka has no meaning there, because its tokens are all"
    ):
        analyze(capture(states), measures=["cka"])
