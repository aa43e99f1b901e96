"""Intervals: resampling sequences by weights is resampling them in fact; half-samples have the spread of resampling."""

import numpy as np
import pytest

from layerscope.errors import MeasureError
from layerscope.measures.analysis import analyze
from layerscope.measures.catalogue import MEASURES
from layerscope.measures.kernels.bootstrap import deal_groups, half_masks, sequence_weights
from layerscope.measures.record import Kind
from tests.measures.captures import capture, walk
from tests.measures.oracles import ORACLES, cosine

LENGTHS = [9, 1, 14, 8, 16, 5, 7]
TOKENS = sum(LENGTHS)
RESAMPLED = [
    "cosine",
    "cosine_sequence",
    "cosine_sequence_without_first",
    "angular_distance",
    "block_influence",
    "variance",
    "norm",
    "curvature",
]
HALVED = ["cka", "cka_biased", "procrustes", "shape_angle", "distance_correlation"] + [
    measure.name
    for measure in MEASURES.values()
    if measure.kind is Kind.PER_LAYER and measure.bootstrap.startswith("half-samples")
]


def resample(states: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Write out the bootstrap sample: each sequence as often as it was drawn."""
    parts = np.split(states, np.cumsum(LENGTHS)[:-1])
    drawn = [parts[index] for index, times in enumerate(weights) for _ in range(int(times))]
    return np.concatenate(drawn), [len(part) for part in drawn]


@pytest.mark.parametrize("replicates", [4, 40])  # fewer than sequences, and more: the variance keeps different sums
@pytest.mark.parametrize("name", RESAMPLED)
def test_replicates_are_the_measure_on_the_sample_written_out(name: str, replicates: int):
    states = walk(TOKENS, 2, 5, seed=1)
    result = analyze(capture(states, LENGTHS), measures=[name], bootstrap=replicates, seed=3)
    weights = sequence_weights(len(LENGTHS), replicates, 3)
    expected = []
    for row in weights:
        sample, lengths = resample(states, row)
        expected.append(ORACLES[name](sample[:, 0], sample[:, 1], lengths))
    at = {"layer": 0, "layer_other": 1} if MEASURES[name].kind is Kind.PAIRWISE else {"layer": 1}
    low, high = np.percentile(expected, [2.5, 97.5])
    assert result[f"{name}_low"].sel(at).item() == pytest.approx(low, rel=1e-10)
    assert result[f"{name}_high"].sel(at).item() == pytest.approx(high, rel=1e-10)
    if MEASURES[name].kind is Kind.PAIRWISE:
        np.testing.assert_allclose(result[f"{name}_bootstrap"].sel(at), expected, rtol=1e-6)


def test_centred_cosine_keeps_the_centre_of_the_full_sample():
    states = walk(TOKENS, 2, 5, seed=1)
    result = analyze(capture(states, LENGTHS), measures=["cosine_centered"], bootstrap=20)
    expected = []
    for row in sequence_weights(len(LENGTHS), 20, 0):
        sample, lengths = resample(states - states.mean(0), row)
        expected.append(cosine(sample[:, 0], sample[:, 1], lengths))
    np.testing.assert_allclose(result["cosine_centered_bootstrap"][:, 0, 1], expected, rtol=1e-6)
    assert "centre stays the mean of the full sample" in result["cosine_centered_low"].attrs["interval"]


@pytest.mark.parametrize("name", HALVED)
def test_half_samples_are_the_measure_on_half_of_the_sequences(name: str):
    states = walk(TOKENS, 2, 5, seed=1)
    result = analyze(capture(states, LENGTHS), measures=[name], bootstrap=25, seed=4)
    group, groups = deal_groups(np.repeat(np.arange(len(LENGTHS)), LENGTHS), 4)
    found = []
    for mask in half_masks(groups, 25, 4):
        half = states[mask[group] > 0]
        found.append(ORACLES[name](half[:, 0], half[:, 1], []))
    value = ORACLES[name](states[:, 0], states[:, 1], [])
    low, high = np.percentile(np.array(found) - np.mean(found) + value, [2.5, 97.5])
    at = {"layer": 0, "layer_other": 1} if MEASURES[name].kind is Kind.PAIRWISE else {"layer": 1}
    assert result[f"{name}_low"].sel(at).item() == pytest.approx(low, rel=1e-9)
    assert result[f"{name}_high"].sel(at).item() == pytest.approx(high, rel=1e-9)
    assert low < value < high


def test_half_samples_have_the_spread_of_fresh_samples():
    """The claim behind the interval of CKA: its width is that of the estimate over samples of the same size."""
    lengths = [2] * 160

    def draw(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        topic = np.repeat(rng.normal(size=(160, 1, 4)), 2, axis=0)  # tokens of a sequence are alike
        first = topic + rng.normal(size=(320, 1, 4))
        return np.concatenate([first, 0.6 * first + rng.normal(size=(320, 1, 4))], axis=1)

    fresh = [analyze(capture(draw(seed), lengths), measures=["cka"])["cka"][0, 1].item() for seed in range(80)]
    results = [analyze(capture(draw(seed), lengths), measures=["cka"], bootstrap=100) for seed in range(200, 204)]
    spread = np.mean([result["cka_bootstrap"][:, 0, 1].std().item() for result in results])
    assert spread == pytest.approx(np.std(fresh), rel=0.25)


def test_intervals_over_sequences_cover_the_truth_where_those_over_tokens_do_not():
    """Tokens of a sequence are alike: 20 sequences of 10 are far fewer than 200 independent tokens."""

    def draw(seed: int, sequences: int = 20) -> np.ndarray:
        rng = np.random.default_rng(seed)
        topic = np.repeat(rng.normal(size=(sequences, 2, 3)), 10, axis=0)
        return topic + np.array([1.0, 0.5, 0.0]) + 0.3 * rng.normal(size=(10 * sequences, 2, 3))

    truth = analyze(capture(draw(0, 8000)), measures=["cosine"])["cosine"][0, 1].item()
    covered = {"sequences": 0, "tokens": 0}
    for seed in range(1, 61):
        for which, lengths in (("sequences", [10] * 20), ("tokens", [1] * 200)):
            result = analyze(capture(draw(seed), lengths), measures=["cosine"], bootstrap=150)
            low, high = (result[f"cosine_{bound}"][0, 1].item() for bound in ("low", "high"))
            covered[which] += low < truth < high
    assert covered["sequences"] >= 51
    assert covered["tokens"] < 36


def test_half_samples_take_half_of_the_groups():
    group, groups = deal_groups(np.arange(1000), seed=0)
    assert groups == 64
    assert set(np.bincount(group)) == {15, 16}
    assert deal_groups(np.array([7, 7, 9, 1, 3, 3, 5]), seed=0)[1] == 4
    masks = half_masks(groups, 30, seed=0)
    assert (masks.sum(1) == 32).all()
    assert len(np.unique(masks, axis=0)) == 30


def test_maximum_has_no_interval():
    result = analyze(capture(walk(TOKENS, 2, 5), LENGTHS), measures=["max_abs"], bootstrap=10)
    assert "max_abs_low" not in result


def test_without_a_bootstrap_there_are_no_intervals():
    assert not [
        name for name in analyze(capture(walk(TOKENS, 2, 5), LENGTHS)) if str(name).endswith(("_low", "_bootstrap"))
    ]


def test_the_same_seed_draws_the_same():
    states = capture(walk(TOKENS, 2, 5), LENGTHS)
    one, same, other = (
        analyze(states, measures=["cosine"], bootstrap=9, seed=seed)["cosine_bootstrap"] for seed in (1, 1, 2)
    )
    assert one.equals(same)
    assert not one.equals(other)


@pytest.mark.parametrize(
    ("name", "lengths", "text"),
    [
        ("cosine", [60], "bootstrap over sequences needs at least 2 sequences, got 1"),
        ("variance", [60], "bootstrap over sequences needs at least 2 sequences, got 1"),
        ("cka", [20, 20, 20], "half-samples of sequences need at least 4 sequences, got 3"),
        ("procrustes", [20, 20, 20], "half-samples of sequences need at least 4 sequences, got 3"),
        ("cka", [1, 1, 1, 1], "half of the sequences hold fewer than 4 tokens"),
    ],
)
def test_too_few_sequences_are_refused(name: str, lengths: list[int], text: str):
    with pytest.raises(MeasureError, match=text):
        analyze(capture(walk(sum(lengths), 2, 5), lengths), measures=[name], bootstrap=10)
