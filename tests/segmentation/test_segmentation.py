import json
import re

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from layerscope.errors import MeasureError, UsageError
from layerscope.segmentation.segmentation import segment
from tests.segmentation.matrices import drift, planted, published


def array(matrix, layers=None, name="cosine"):
    layers = np.arange(len(matrix)) if layers is None else np.array(layers)
    return xr.DataArray(
        matrix, dims=("layer", "layer_other"), coords={"layer": layers, "layer_other": layers}, name=name
    )


def test_the_published_matrix_gives_the_papers_counts():
    found = segment(array(published(), name="cosine_sequence"))
    assert found.sizes == (2, 29, 2)
    assert found.boundaries == (2, 31)
    assert found.labels == ("beginning", "middle", "ending")
    assert found.measure == "cosine_sequence"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.integers(0, 99))
def test_planted_blocks_are_found(sizes, seed):
    matrix = planted(sizes, within=0.8, between=0.1, noise=0.02, seed=seed)
    found = segment(matrix, segments=len(sizes))
    assert found.sizes == tuple(sizes)
    assert found.boundaries == tuple(np.cumsum(sizes)[:-1].tolist())
    assert found.starts == (0, *found.boundaries)


def test_boundaries_are_state_numbers_where_only_some_states_are_stored():
    found = segment(array(planted([1, 4, 2]), layers=[0, 5, 6, 7, 8, 9, 10]))
    assert found.boundaries == (5, 9)
    assert found.sizes == (1, 4, 2)
    assert found.starts == (0, 1, 5)


def test_labels_name_three_segments_and_number_others():
    matrix = planted([2, 2, 2, 2])
    assert segment(matrix, 3).labels == ("beginning", "middle", "ending")
    assert segment(matrix, 1).labels == ("segment_1",)
    assert segment(matrix, 4).labels == ("segment_1", "segment_2", "segment_3", "segment_4")


def test_score_is_the_mean_within_minus_the_mean_between_without_the_diagonal():
    matrix = planted([2, 4, 3], noise=0.1)
    owner = [0, 0, 1, 1, 1, 1, 2, 2, 2]
    pairs = [(i, j) for i in range(9) for j in range(9) if i != j]
    within = [matrix[i, j] for i, j in pairs if owner[i] == owner[j]]
    between = [matrix[i, j] for i, j in pairs if owner[i] != owner[j]]
    assert segment(matrix).score == pytest.approx(np.mean(within) - np.mean(between), abs=1e-12)


def test_score_is_none_where_there_is_nothing_to_compare():
    matrix = planted([2, 2])
    assert segment(matrix, 1).score is None
    assert segment(matrix, 4).score is None


def test_json_has_exactly_the_contracts_fields():
    replicates = np.stack([planted([2, 5, 1])] * 3)
    found = segment(array(planted([2, 5, 1])), replicates=replicates)
    assert json.loads(found.to_json()) == {
        "measure": "cosine",
        "boundaries": [2, 7],
        "sizes": [2, 5, 1],
        "labels": ["beginning", "middle", "ending"],
        "score": pytest.approx(0.7),
        "stability": [1.0, 1.0],
    }
    assert list(found.as_dict()) == ["measure", "boundaries", "sizes", "labels", "score", "stability"]
    assert json.loads(segment(planted([2, 2]), 1).to_json())["score"] is None
    assert json.loads(segment(array(planted([2, 2]), name=None), 1).to_json())["measure"] == ""


def test_stability_counts_the_replicates_with_the_boundary_in_the_same_place():
    replicates = np.stack([planted([2, 5, 1]), planted([2, 4, 2]), planted([3, 4, 1]), planted([2, 5, 1])])
    assert segment(planted([2, 5, 1]), replicates=replicates).stability == (0.75, 0.75)
    named = xr.DataArray(replicates.astype(np.float32), dims=("replicate", "layer", "layer_other"))
    assert segment(array(planted([2, 5, 1])), replicates=named).stability == (0.75, 0.75)


def test_stability_compares_the_first_boundary_with_the_first():
    # The replicate has a boundary at 2 too, but as its second.
    replicates = planted([1, 1, 6])[None]
    assert segment(planted([2, 5, 1]), replicates=replicates).stability == (0.0, 0.0)


def test_stability_of_one_segment_is_empty_and_without_replicates_none():
    assert segment(planted([4]), 1, replicates=planted([4])[None]).stability == ()
    assert segment(planted([4]), 1).stability is None


def test_stability_of_noise_is_low_and_of_blocks_high():
    noisy = np.stack([planted([12], within=0.5, noise=0.3, seed=seed) for seed in range(30)])
    clear = np.stack([planted([3, 6, 3], noise=0.1, seed=seed) for seed in range(30)])
    assert max(segment(noisy[0], replicates=noisy).stability) < 0.6
    assert segment(clear[0], replicates=clear).stability == (1.0, 1.0)


def test_reversing_the_layers_reverses_the_sizes():
    matrix = planted([2, 6, 3], noise=0.1)
    assert segment(matrix[::-1, ::-1].copy()).sizes == segment(matrix).sizes[::-1]


def test_the_input_is_left_as_it_was():
    matrix = planted([2, 6, 3])
    matrix[0, 1] += 5e-7
    before = matrix.copy()
    segment(matrix)
    assert np.array_equal(matrix, before)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.ones((3, 4)), "the similarity has shape (3, 4): it compares two captures"),
        (np.ones(3), "the similarity has shape (3,)"),
        (np.ones((0, 0)), "the similarity has shape (0, 0)"),
        (np.array([[1.0, 0.2, 0.1], [0.3, 1.0, 0.1], [0.1, 0.1, 1.0]]), "is not symmetric (off by 0.1)"),
        (np.array([[1.0, np.nan], [np.nan, 1.0]]), "is not finite between layers 0 and 1"),
    ],
)
def test_matrices_that_have_no_segments_are_refused(matrix, message):
    with pytest.raises(MeasureError, match=re.escape(message)):
        segment(matrix)


def test_refusals_name_the_measure_and_the_states():
    matrix = planted([2, 2])
    matrix[3, 3] = np.inf
    with pytest.raises(MeasureError, match="'cka' is not finite between layers 9 and 9"):
        segment(array(matrix, layers=[0, 7, 8, 9], name="cka"))


def test_asymmetry_of_rounding_is_allowed():
    matrix = planted([2, 3, 2])
    matrix[0, 1] += 9e-7
    assert segment(matrix).sizes == (2, 3, 2)
    matrix[0, 1] += 9e-7
    with pytest.raises(MeasureError, match="compares two captures"):
        segment(matrix)


def test_a_distance_is_refused():
    with pytest.raises(UsageError, match=r"'procrustes' is a distance .*similarity_of turns"):
        segment(array(1.0 - planted([2, 3, 2], within=0.9), name="procrustes"))


@pytest.mark.parametrize("segments", [0, -1, True, "three"])
def test_impossible_numbers_of_segments_are_wrong_use(segments):
    with pytest.raises(UsageError, match=r"segments .*expected a whole number from 1 on, or 'auto'"):
        segment(planted([2, 2]), segments)


def test_more_segments_than_layers_are_refused():
    with pytest.raises(MeasureError, match="2 layers cannot be cut into 3 segments: use at most 2"):
        segment(planted([2]))
    assert segment(planted([1, 1, 1])).sizes == (1, 1, 1)


@pytest.mark.parametrize("shape", [(0, 4, 4), (4, 4), (2, 5, 5)])
def test_replicates_of_another_shape_are_refused(shape):
    with pytest.raises(MeasureError, match=re.escape(f"bootstrap replicates have shape {shape}, expected")):
        segment(planted([2, 2]), 2, replicates=np.ones(shape))


def test_replicates_with_nan_are_refused():
    replicates = np.stack([planted([2, 2]), np.full((4, 4), np.nan)])
    with pytest.raises(MeasureError, match="a bootstrap replicate holds NaN"):
        segment(planted([2, 2]), 2, replicates=replicates)


def test_auto_uses_the_chosen_number():
    found = segment(planted([3, 5, 4, 6], noise=0.05), "auto")
    assert found.sizes == (3, 5, 4, 6)
    assert found.labels[0] == "segment_1"
    assert segment(drift(20, 7.0), "auto").sizes == (20,)


@pytest.mark.parametrize("layers", [[3, 2, 1, 0], [0, 1, 1, 2]])
def test_layers_that_do_not_ascend_are_refused(layers):
    matrix = xr.DataArray(np.eye(4), dims=("layer", "layer_other"), coords={"layer": layers, "layer_other": layers})
    with pytest.raises(MeasureError, match="layer is not ascending: sort the layers, and keep each once"):
        segment(matrix)
