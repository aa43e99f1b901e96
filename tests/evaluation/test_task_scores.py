"""Scores, intervals and rank correlations, against scipy and plain loops."""

import numpy as np
import pytest
import scipy.stats

from layerscope.evaluation.bootstrap import correlation, rank_correlation
from layerscope.evaluation.task_scores import mean_scores
from layerscope.measures.kernels.bootstrap import bootstrap_weights, percentiles


def judged(runs: int = 5, examples: int = 12, seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    nats = generator.exponential(2, (runs, examples))
    tokens = generator.integers(1, 5, examples)
    accuracy = (generator.random((runs, examples)) < 0.5).astype(float)
    accuracy[0] = 1.0
    accuracy[0, 0] = 0.0
    return {"loss": nats / tokens, "nats": nats, "accuracy": accuracy, "accuracy_norm": 1 - accuracy}


def test_scores_are_the_definitions() -> None:
    example = judged()
    found = mean_scores(example, np.full((1, 12), 1 / 12), chance=0.25)
    for run in range(5):
        assert found["loss"][0, run] == pytest.approx(sum(example["loss"][run]) / 12)
        assert found["perplexity"][0, run] == pytest.approx(np.exp(sum(example["nats"][run]) / 12))
        accuracy = sum(example["accuracy"][run]) / 12
        assert found["accuracy"][0, run] == pytest.approx(accuracy)
        assert found["normalized"][0, run] == pytest.approx((accuracy - 0.25) / (11 / 12 - 0.25))
        assert found["loss_difference"][0, run] == pytest.approx(sum(example["loss"][run] - example["loss"][0]) / 12)


def test_perplexities_a_token_do_not_grow_with_the_text() -> None:
    """Summed nats of a whole text are no power of ten that means anything."""
    example = judged() | {"nats": np.full((5, 12), 400.0)}
    tokens, sizes = np.full(12, 100.0), np.full(12, 500.0)
    found = mean_scores(example, np.full((1, 12), 1 / 12), 0.25, tokens, sizes)
    np.testing.assert_allclose(found["perplexity"], np.exp(4))
    np.testing.assert_allclose(found["byte_perplexity"], np.exp(0.8))
    np.testing.assert_allclose(found["bits_per_byte"], 0.8 / np.log(2))
    assert np.isnan(mean_scores(example, np.full((1, 12), 1 / 12), 0.25)["byte_perplexity"]).all()


def test_replicates_are_the_scores_of_drawn_examples() -> None:
    example, weights = judged(), bootstrap_weights(12, 40, seed=3) / 12
    assert weights.shape == (40, 12)
    np.testing.assert_array_equal(weights, bootstrap_weights(12, 40, seed=3) / 12)
    counts = np.rint(weights * 12).astype(int)
    assert (counts.sum(1) == 12).all()
    found = mean_scores(example, weights, chance=0.0)
    for replicate in (0, 17, 39):
        chosen = np.repeat(np.arange(12), counts[replicate])
        again = mean_scores(
            {name: values[:, chosen] for name, values in example.items()}, np.full((1, 12), 1 / 12), 0.0
        )
        for name, values in again.items():
            np.testing.assert_allclose(found[name][replicate], values[0], err_msg=name)


def test_a_full_model_no_better_than_guessing_has_no_normalized_score() -> None:
    example = judged()
    example["accuracy"][0] = 0.0
    assert np.isnan(mean_scores(example, np.full((1, 12), 1 / 12), chance=0.25)["normalized"]).all()


def test_paired_differences_are_narrower_than_unpaired() -> None:
    """Two runs that differ by a constant on every example differ by it without any doubt."""
    example = judged(runs=2)
    example["loss"][1] = example["loss"][0] + 0.5
    low, high = percentiles(mean_scores(example, bootstrap_weights(12, 200, seed=0) / 12, 0.0)["loss_difference"])
    assert low[1] == pytest.approx(0.5)
    assert high[1] == pytest.approx(0.5)
    low, high = percentiles(mean_scores(example, bootstrap_weights(12, 200, seed=0) / 12, 0.0)["loss"])
    assert high[1] - low[1] > 0.1


def test_intervals_of_nothing() -> None:
    replicates = np.full((10, 3), np.nan)
    replicates[:, 1] = np.arange(10.0)
    replicates[0, 1] = np.nan
    low, high = percentiles(replicates)
    assert np.isnan(low[[0, 2]]).all()
    assert low[1] == pytest.approx(np.percentile(np.arange(1.0, 10.0), 2.5))
    assert high[1] == pytest.approx(np.percentile(np.arange(1.0, 10.0), 97.5))
    assert np.isnan(percentiles(np.full((4, 2), np.nan))).all()


def test_correlation_is_spearmans() -> None:
    generator = np.random.default_rng(1)
    for _ in range(20):
        one, other = generator.integers(0, 6, (2, 15)).astype(float)  # with ties
        assert correlation(one, other) == pytest.approx(scipy.stats.spearmanr(one, other).statistic)
    one[3] = np.nan
    kept = np.isfinite(one)
    assert correlation(one, other) == pytest.approx(scipy.stats.spearmanr(one[kept], other[kept]).statistic)
    assert np.isnan(correlation(np.ones(5), np.arange(5.0)))
    assert np.isnan(correlation(np.arange(2.0), np.arange(2.0)))


def test_the_interval_of_a_correlation_holds_it() -> None:
    generator = np.random.default_rng(2)
    drift = generator.random(60)
    loss = drift + generator.normal(0, 0.2, 60)
    value, low, high = rank_correlation(drift, loss, replicates=200, seed=0)
    assert low < value < high
    assert (value, low, high) == rank_correlation(drift, loss, replicates=200, seed=0)
    assert np.isnan(rank_correlation(drift, loss, replicates=0, seed=0)[1:]).all()
