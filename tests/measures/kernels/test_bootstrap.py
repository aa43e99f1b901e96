"""Intervals: resampling sequences by weights is resampling them in fact; half-samples have the spread of resampling."""

import numpy as np
import pytest
from scipy import stats

from layerscope.errors import MeasureError
from layerscope.measures.analysis import analyze
from layerscope.measures.catalogue import MEASURES
from layerscope.measures.kernels.bootstrap import Resampling, deal_groups, half_masks, sequence_weights
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


def interval(value: float, replicates: np.ndarray, units: int, *, halves: bool = False) -> tuple[float, float]:
    """Write out the interval: widened percentiles of the deviations about the value, extended by the bias."""
    widening = stats.t.ppf(0.975, units - 1) / stats.norm.ppf(0.975)
    if not halves:
        widening *= np.sqrt(units / (units - 1))
    mean = replicates.mean()
    low, high = np.percentile(replicates - mean, [2.5, 97.5]) * widening + value
    return (low - (mean - value), high) if mean > value else (low, high + value - mean)


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
    low, high = interval(ORACLES[name](states[:, 0], states[:, 1], LENGTHS), np.array(expected), len(LENGTHS))
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
    low, high = interval(value, np.array(found), groups, halves=True)
    low, high = max(low, MEASURES[name].low), min(high, MEASURES[name].high)
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

    empty_like = [analyze(capture(draw(seed), lengths), measures=["cka"])["cka"][0, 1].item() for seed in range(80)]
    results = [analyze(capture(draw(seed), lengths), measures=["cka"], bootstrap=100) for seed in range(200, 204)]
    spread = np.mean([result["cka_bootstrap"][:, 0, 1].std().item() for result in results])
    assert spread == pytest.approx(np.std(empty_like), rel=0.25)


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


@pytest.mark.parametrize("halves", [False, True], ids=["drawn with replacement", "halves"])
@pytest.mark.parametrize("texts", [8, 20])
def test_the_mean_of_few_texts_is_covered_as_often_as_meant(texts: int, halves: bool):
    values = np.random.default_rng(0).normal(size=(texts, 2000))
    weights = half_masks(texts, 200, 0) / (texts // 2) if halves else sequence_weights(texts, 200, 0) / texts
    low, high = Resampling(texts, halves=halves).interval(values.mean(0), weights @ values)
    assert ((low < 0) & (high > 0)).mean() == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("halves", [False, True], ids=["drawn with replacement", "halves"])
def test_a_biased_estimator_is_covered_too(halves: bool):
    """The squared length of a mean is too long on average: the interval reaches from its own mean down to the truth."""
    texts, width = 20, 32
    values = np.random.default_rng(0).normal(0.3, 1, size=(texts, 250 * width))
    weights = half_masks(texts, 200, 0) / (texts // 2) if halves else sequence_weights(texts, 200, 0) / texts
    lengths, replicates = (
        (means**2).reshape(*means.shape[:-1], 250, width).sum(-1) for means in (values.mean(0), weights @ values)
    )
    low, high = Resampling(texts, halves=halves).interval(lengths, replicates)
    assert (low <= lengths).all()
    assert (lengths <= high).all()
    for target in (width * 0.09, lengths.mean()):
        assert ((low <= target) & (target <= high)).mean() > 0.92


def test_intervals_stay_inside_the_range():
    states = np.random.default_rng(0).normal(size=(6, 2, 3)) * 0.01 + np.ones(3)
    result = analyze(capture(states, [2] * 3), measures=["cosine"], bootstrap=20)
    assert result["cosine_high"].max().item() <= 1
    assert result["cosine_low"][0, 0].item() == pytest.approx(1)


def test_replicates_of_half_samples_have_the_value_as_their_mean():
    result = analyze(capture(walk(TOKENS, 2, 5), LENGTHS), measures=["cka_biased"], bootstrap=30)
    np.testing.assert_allclose(result["cka_biased_bootstrap"].mean("replicate"), result["cka_biased"], rtol=1e-6)


def test_the_interval_says_how_it_was_made_and_how_often_it_held():
    result = analyze(capture(walk(TOKENS, 2, 5), LENGTHS), measures=["cosine", "cka", "max_abs"], bootstrap=10)
    assert result["cosine_low"].attrs["interval"] == (
        "95 % bootstrap interval (7 sequences drawn with replacement): percentiles, widened by Student's t for 6 degrees of "
        "freedom and extended by the estimated bias"
    )
    assert "half-samples of sequences, dealt into 6 groups" in result["cka_low"].attrs["interval"]
    assert 0.8 < result["cosine"].attrs["coverage"] < 1
    assert result["cosine"].attrs["coverage_texts"] == 20
    assert "coverage" not in result["max_abs"].attrs
    assert "coverage" not in analyze(capture(walk(TOKENS, 2, 5), LENGTHS), measures=["cosine"])["cosine"].attrs


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
