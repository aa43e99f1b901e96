"""Reliability over features and over sequences: on halves written out, and in cases known beforehand."""

import numpy as np
import pytest

from layerscope.errors import MeasureError, UsageError
from layerscope.measures.analysis import analyze
from layerscope.measures.catalogue import MEASURES
from layerscope.measures.passes.split_half import joint_ceiling
from layerscope.measures.record import Kind
from tests.measures.captures import capture, walk
from tests.measures.oracles import ORACLES

LENGTHS = [9, 6, 14, 8, 16, 5, 7]
TOKENS = sum(LENGTHS)
PAIRWISE = [name for name, measure in MEASURES.items() if measure.kind is Kind.PAIRWISE]
ANY_WIDTH = [name for name in PAIRWISE if not MEASURES[name].same_width]


def latent(tokens: int, layers: int, width: int, seed: int = 0) -> np.ndarray:
    """Draw layers that each look at the same few numbers of a token through features of their own, with noise."""
    rng = np.random.default_rng(seed)
    views = rng.normal(size=(layers, 3, width))
    noise = rng.normal(size=(tokens, layers, width)) * np.linspace(0.2, 1.5, layers)[:, None]
    return np.einsum("td,ldf->tlf", rng.normal(size=(tokens, 3)), views) + noise


@pytest.mark.parametrize("name", ANY_WIDTH)
def test_reliability_over_features_is_the_measure_between_halves_of_the_features_written_out(name: str):
    one, two = latent(TOKENS, 2, 12, seed=1), latent(TOKENS, 3, 9, seed=2)
    result = analyze(capture(one, LENGTHS), capture(two, LENGTHS), measures=[name], ceiling=2, seed=5)
    rng = np.random.default_rng([5, 5])
    own = [[], []]
    for _ in range(2):
        for side, states in enumerate((one, two)):
            order = rng.permutation(states.shape[2])
            middle = -(-len(order) // 2)
            halves = np.sort(order[:middle]), np.sort(order[middle:])
            own[side].append(
                [
                    ORACLES[name](*(states[:, layer][:, half] for half in halves), LENGTHS)
                    for layer in range(states.shape[1])
                ]
            )
    first, second = (np.mean(values, axis=0) for values in own)
    distance = ORACLES[name](one[:, 0], one[:, 0], LENGTHS) < 1e-6
    expected = [[(a + b) / 2 if distance else np.sqrt(a * b) for b in second] for a in first]
    np.testing.assert_allclose(result[f"{name}_ceiling"], expected, rtol=1e-9)
    assert result[f"{name}_ceiling"].attrs["ceiling_splits"] == 2
    assert result[f"{name}_ceiling"].attrs["ceiling_tokens"] == TOKENS


def test_what_many_features_say_alike_has_a_high_ceiling_and_what_each_says_alone_has_none():
    alike, alone = latent(TOKENS, 1, 200), np.random.default_rng(0).normal(size=(TOKENS, 1, 200))
    states = np.concatenate([alike, alone], axis=1)
    ceiling = analyze(capture(states, LENGTHS), measures=["cka"], ceiling=4)["cka_ceiling"].values
    assert ceiling[0, 0] > 0.95
    assert np.isnan(ceiling[1, 1]) or ceiling[1, 1] < 0.1


def test_reliability_of_two_layers():
    similarity, distance = MEASURES["cka"], MEASURES["procrustes"]
    own, other = np.array([0.9, 0.4, -0.01]), np.array([0.4, 0.9])
    np.testing.assert_allclose(joint_ceiling(own, other, similarity), [[0.6, 0.9], [0.4, 0.6], [np.nan, np.nan]])
    np.testing.assert_allclose(joint_ceiling(own, other, distance), [[0.65, 0.9], [0.4, 0.65], [0.195, 0.445]])


@pytest.mark.parametrize("two", [False, True], ids=["within one", "between two"])
@pytest.mark.parametrize("name", PAIRWISE)
def test_a_reliability_is_the_correlation_between_halves_of_the_sequences_stepped_up(name: str, two: bool):
    sides = [latent(TOKENS, 4, 6, seed=1), *([latent(TOKENS, 3, 6, seed=2)] if two else [])]
    result = analyze(*(capture(states, LENGTHS) for states in sides), measures=[name], ceiling=3, seed=8)
    rng = np.random.default_rng([8, 6])
    found = []
    for _ in range(3):
        half = rng.permutation(np.arange(7) % 2)
        matrices = []
        for which in (0, 1):
            chosen = np.repeat(half, LENGTHS) == which
            lengths = [length for length, here in zip(LENGTHS, half == which, strict=True) if here]
            parts = [states[chosen] for states in (sides[0], sides[-1])]
            pairs = [(a, b) for a in range(4) for b in range(parts[1].shape[1]) if two or a != b]
            matrices.append([ORACLES[name](parts[0][:, a], parts[1][:, b], lengths) for a, b in pairs])
        found.append(np.corrcoef(matrices)[0, 1])
    r = np.mean(found)
    assert result[name].attrs["split_half"] == pytest.approx(2 * r / (1 + r) if r > 0 else r, rel=1e-6)
    assert result[name].attrs["split_half_splits"] == 3


def test_measures_that_compare_feature_with_feature_have_a_reliability_but_no_ceiling():
    result = analyze(capture(walk(TOKENS, 3, 5), LENGTHS), measures=["cosine", "norm", "cka"], ceiling=2)
    assert [name for name in result if str(name).endswith("_ceiling")] == ["cka_ceiling"]
    assert 0.5 < result["cosine"].attrs["split_half"] <= 1
    assert "split_half" not in result["norm"].attrs


def test_one_pair_of_layers_has_no_correlation():
    result = analyze(capture(walk(TOKENS, 2, 5), LENGTHS), measures=["cosine"], ceiling=2)
    assert "split_half" not in result["cosine"].attrs


def test_the_same_seed_splits_the_same():
    states = capture(latent(TOKENS, 3, 8), LENGTHS)
    one, same, other = (analyze(states, measures=["cka"], ceiling=2, seed=seed) for seed in (1, 1, 2))
    assert one["cka_ceiling"].equals(same["cka_ceiling"])
    assert one["cka"].attrs["split_half"] == same["cka"].attrs["split_half"] != other["cka"].attrs["split_half"]
    assert not one["cka_ceiling"].equals(other["cka_ceiling"])


@pytest.mark.parametrize(
    ("lengths", "width", "text"),
    [
        (
            [20, 20, 20],
            5,
            "split-half reliability needs at least 4 sequences, got 3: capture more texts, or leave --ceiling",
        ),
        ([15] * 4, 1, "halves of the features need at least 2 features, got 1: leave --ceiling out"),
        ([1] * 6, 5, r"in a half of the sequences \(--ceiling\): cka needs at least 4 tokens, got 3"),
    ],
)
def test_what_has_no_halves_is_refused(lengths: list[int], width: int, text: str):
    with pytest.raises(MeasureError, match=text):
        analyze(capture(walk(sum(lengths), 2, width), lengths), measures=["cka"], ceiling=2)


def test_a_layer_without_variation_in_half_of_its_features_is_refused_there():
    states = walk(TOKENS, 2, 4)
    states[:, 1, 1:] = 0.5
    with pytest.raises(
        MeasureError, match=r"between halves of the features \(--ceiling\): layer 1 \(block.0\) is the same"
    ):
        analyze(capture(states, LENGTHS), measures=["cka"], ceiling=3)


def test_a_negative_number_is_refused():
    with pytest.raises(UsageError, match="ceiling -2: must be 0 or more"):
        analyze(capture(walk(TOKENS, 2, 5), LENGTHS), ceiling=-2)
