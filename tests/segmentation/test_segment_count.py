import numpy as np
import pytest
from sklearn.metrics import silhouette_samples

from layerscope.segmentation.segment_count import choose_segment_count, mean_silhouette
from tests.segmentation.matrices import drift, planted, published


@pytest.mark.parametrize(
    "sizes",
    [[4, 6], [2, 29, 2], [3, 20, 1], [1, 29, 1], [5, 5, 5], [3, 8, 10, 4], [6, 6, 6, 6, 6], [2, 10, 10, 8, 1]],
)
@pytest.mark.parametrize(("within", "between", "noise"), [(0.95, 0.1, 0.02), (0.9, 0.6, 0.05)])
def test_planted_numbers_are_chosen(sizes, within, between, noise):
    assert choose_segment_count(planted(sizes, within, between, noise)) == len(sizes)


def test_the_published_matrix_has_three():
    assert choose_segment_count(published()) == 3


@pytest.mark.parametrize("layers", [3, 7, 31, 81])
@pytest.mark.parametrize("reach", [0.2, 0.5, 2.0])
def test_a_steady_drift_has_no_segments(layers, reach):
    assert choose_segment_count(drift(layers, reach * layers)) == 1


@pytest.mark.parametrize(("within", "noise"), [(0.0, 0.2), (0.5, 0.2), (0.9, 0.05)])
@pytest.mark.parametrize("layers", [7, 13, 31])
def test_noise_has_no_segments_but_for_one_in_twenty(layers, within, noise):
    chosen = [choose_segment_count(planted([layers], within, 0.0, noise, seed)) for seed in range(10)]
    assert sum(count > 1 for count in chosen) <= 2


def test_blocks_are_found_however_slight_the_difference_if_nothing_else_is_there():
    assert choose_segment_count(planted([5, 7], within=0.25, between=0.1)) == 2


def test_blocks_on_top_of_a_drift_are_found():
    assert choose_segment_count(planted([6, 15, 9], 0.95, 0.4) * drift(30, 60.0)) == 3


@pytest.mark.parametrize("matrix", [np.ones((1, 1)), np.ones((2, 2)), np.ones((12, 12)), np.eye(12)])
def test_nothing_to_choose_is_one_segment(matrix):
    assert choose_segment_count(matrix) == 1


def test_at_most_eight():
    assert choose_segment_count(planted([4] * 8, within=1.0, between=0.0)) == 8
    assert choose_segment_count(planted([4] * 9, within=1.0, between=0.0)) <= 8


def test_silhouette_equals_scikit_learns():
    matrix = planted([2, 5, 1, 4], noise=0.2)
    owner = np.repeat(np.arange(4), [2, 5, 1, 4])
    expected = silhouette_samples(1.0 - matrix, owner, metric="precomputed").mean()
    assert mean_silhouette(matrix, (2, 7, 8)) == pytest.approx(expected, abs=1e-12)


def test_the_choice_is_repeatable():
    matrix = planted([3, 6, 4], 0.7, 0.4, 0.15)
    state = np.random.get_state()[1].copy()
    assert len({choose_segment_count(matrix) for _ in range(3)}) == 1
    assert np.array_equal(np.random.get_state()[1], state)
