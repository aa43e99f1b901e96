import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerscope.errors import MeasureError, UsageError
from layerscope.segmentation.clustering import agreement, segment_agglomerative
from layerscope.segmentation.segmentation import segment
from tests.segmentation.matrices import drift, planted, published


def joined_by_hand(matrix, segments):
    """Join, of all neighbouring segments, the two whose joint cost grows least."""

    def cost(members):
        return sum(1.0 - matrix[i, j] for i in members for j in members) / len(members)

    pieces = [[layer] for layer in range(len(matrix))]
    while len(pieces) > segments:
        growth = [cost(a + b) - cost(a) - cost(b) for a, b in itertools.pairwise(pieces)]
        place = int(np.argmin(growth))
        pieces[place : place + 2] = [pieces[place] + pieces[place + 1]]
    return tuple(piece[0] for piece in pieces[1:])


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 10), st.integers(0, 999), st.data())
def test_it_is_the_greedy_road_to_the_same_criterion(layers, seed, data):
    points = np.random.default_rng(seed).normal(size=(layers, 5))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    matrix = points @ points.T
    segments = data.draw(st.integers(1, layers))
    assert segment_agglomerative(matrix, segments).boundaries == joined_by_hand(matrix, segments)


def test_the_published_matrix_gives_the_papers_counts_this_way_too():
    assert segment_agglomerative(published()).sizes == (2, 29, 2)


def test_it_looks_past_the_steps_between_neighbours():
    # The largest step is inside the second block: one layer unlike its neighbours on one side only.
    matrix = planted([6, 8], within=0.9, between=0.3)
    matrix[9, 10] = matrix[10, 9] = 0.1
    assert segment_agglomerative(matrix, 2).boundaries == (6,)


def test_one_segment_and_as_many_as_layers():
    matrix = planted([2, 2])
    assert segment_agglomerative(matrix, 1).sizes == (4,)
    assert segment_agglomerative(matrix, 4).sizes == (1, 1, 1, 1)
    assert segment_agglomerative(np.ones((1, 1)), 1).sizes == (1,)


def test_refusals():
    with pytest.raises(UsageError, match="segments is 0"):
        segment_agglomerative(planted([2, 2]), 0)
    with pytest.raises(MeasureError, match="4 layers cannot be cut into 5 segments"):
        segment_agglomerative(planted([2, 2]), 5)
    with pytest.raises(MeasureError, match="compares two captures"):
        segment_agglomerative(np.ones((2, 3)), 2)


def test_agreement_is_one_for_the_same_and_low_for_others():
    matrix = drift(40, 10.0)
    halves, other = segment(matrix, 2), segment(planted([2, 38]), 2)
    assert agreement(halves, halves) == 1.0
    assert agreement(halves, other) == agreement(other, halves)
    assert agreement(halves, other) < 0.1


def test_agreement_by_counting_pairs():
    one, other = segment(planted([3, 3]), 2), segment(planted([2, 4]), 2)
    # Hubert & Arabie by hand: pairs together in both, in one, in the other, of 15.
    both, first, second = 1 + 3, 3 + 3, 1 + 6
    expected = first * second / 15
    assert agreement(one, other) == pytest.approx((both - expected) / ((first + second) / 2 - expected))


def test_agreement_needs_the_same_layers():
    with pytest.raises(MeasureError, match="segmentations of 4 and 5 layers cannot be compared"):
        agreement(segment(planted([2, 2]), 2), segment(planted([2, 3]), 2))
