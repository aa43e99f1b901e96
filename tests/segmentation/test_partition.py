import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerscope.segmentation.partition import best_partition, optimal_partitions, segment_costs
from tests.segmentation.matrices import drift, planted


def cost_by_hand(matrix, starts):
    """The criterion as it is written, pair by pair."""
    bounds = [0, *starts, len(matrix)]
    total = 0.0
    for first, stop in itertools.pairwise(bounds):
        pairs = [1.0 - matrix[i, j] for i in range(first, stop) for j in range(first, stop)]
        total += sum(pairs) / (stop - first)
    return total


def every_partition(layers, segments):
    return itertools.combinations(range(1, layers), segments - 1)


@st.composite
def symmetric(draw, coarse=False):
    layers = draw(st.integers(1, 8))
    # Coarse values make many partitions cost the same.
    values = st.sampled_from([-1.0, 0.0, 0.5, 1.0]) if coarse else st.floats(-1.0, 1.0, allow_subnormal=False)
    matrix = np.eye(layers)
    for i, j in itertools.combinations(range(layers), 2):
        matrix[i, j] = matrix[j, i] = draw(values)
    return matrix


@settings(max_examples=100, deadline=None)
@given(symmetric())
def test_no_contiguous_partition_costs_less(matrix):
    found = optimal_partitions(matrix, len(matrix))
    for segments, (cost, starts) in enumerate(found, start=1):
        assert len(starts) == segments - 1
        assert cost == pytest.approx(cost_by_hand(matrix, starts), abs=1e-12)
        least = min(cost_by_hand(matrix, other) for other in every_partition(len(matrix), segments))
        assert cost == pytest.approx(least, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(symmetric(coarse=True))
def test_ties_go_to_the_earliest_boundaries_from_the_last_on(matrix):
    for segments in range(1, len(matrix) + 1):
        least = min(cost_by_hand(matrix, starts) for starts in every_partition(len(matrix), segments))
        tied = [s for s in every_partition(len(matrix), segments) if cost_by_hand(matrix, s) <= least + 1e-10]
        assert best_partition(matrix, segments) == min(tied, key=lambda starts: starts[::-1])


def test_ties_do_not_depend_on_rounding():
    matrix = planted([9], within=0.3)
    rounded = matrix * (1 + 1e-15)
    np.fill_diagonal(rounded, 1.0)
    for segments in range(1, 10):
        assert best_partition(matrix, segments) == best_partition(rounded, segments)


def test_a_uniform_chain_is_cut_at_the_earliest_places():
    assert best_partition(planted([6], within=0.5), 4) == (1, 2, 3)


def test_segment_costs_are_block_sums_over_sizes():
    matrix = planted([3, 4], noise=0.2)
    costs = segment_costs(matrix)
    for first, stop in itertools.combinations(range(8), 2):
        block = 1.0 - matrix[first:stop, first:stop]
        assert costs[first, stop] == pytest.approx(block.sum() / (stop - first), abs=1e-12)
    assert np.isinf(costs[np.tril_indices(8)]).all()


def test_nearly_identical_layers_keep_their_differences():
    # All similarities within 1e-9 of 1: the search must not lose them in the sums.
    matrix = 1.0 - 1e-9 * (1.0 - planted([4, 5, 3], within=1.0, between=0.0))
    assert best_partition(matrix, 3) == (4, 9)


def test_more_segments_never_cost_more():
    costs = [cost for cost, _ in optimal_partitions(drift(30, 8.0), 30)]
    assert all(later <= earlier for earlier, later in itertools.pairwise(costs))
    assert costs[-1] == pytest.approx(0.0, abs=1e-12)
