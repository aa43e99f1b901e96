import numpy as np
import pytest
import xarray as xr

from layerscope.errors import MeasureError, UsageError
from layerscope.segmentation.analysis_matrices import pairwise_measures, require_analysis, value_range
from layerscope.segmentation.similarity import is_distance, segment_measure, similarity_of
from tests.segmentation.matrices import planted

DIMS = ("layer", "layer_other")


def analysis(**matrices):
    return xr.Dataset({name: (DIMS, matrix) for name, matrix in matrices.items()})


def test_only_matrices_over_pairs_of_layers_are_listed():
    matrix = np.eye(3)
    result = analysis(cosine=matrix, cka=matrix, cosine_low=matrix, cosine_high=matrix)
    result["norm"] = ("layer", np.ones(3))
    result["cosine_bootstrap"] = (("replicate", *DIMS), matrix[None])
    assert pairwise_measures(result) == ["cosine", "cka"]


@pytest.mark.parametrize(
    ("written", "ends"),
    [
        ("[-1, 1]", (-1, 1)),
        ("[0, inf)", (0, np.inf)),
        ("(-inf, 1]", (-np.inf, 1)),
        ("[0, 0.5]", (0, 0.5)),
        ("0 … 2", (0, 2)),
    ],
)
def test_ranges_are_read(written, ends):
    assert value_range({"range": written}) == ends


@pytest.mark.parametrize("attrs", [{}, {"range": ""}, {"range": "any"}])
def test_no_range_is_none(attrs):
    assert value_range(attrs) is None


def test_a_similarity_is_returned_as_it_is():
    result = analysis(cosine=planted([2, 3]))
    assert similarity_of(result, "cosine").identical(result["cosine"])


def test_a_distance_is_turned_by_its_range():
    distance = 2.0 * (1.0 - planted([2, 3, 2], within=1.0, between=0.25))
    result = analysis(procrustes=distance)
    result["procrustes"].attrs = {"range": "[0, 2]", "long_name": "Procrustes distance"}
    similarity = similarity_of(result, "procrustes")
    np.testing.assert_allclose(similarity, planted([2, 3, 2], within=1.0, between=0.25))
    assert similarity.name == "procrustes"
    found = segment_measure(result, "procrustes")
    assert (found.measure, found.sizes) == ("procrustes", (2, 3, 2))


@pytest.mark.parametrize("attrs", [{}, {"range": "[0, inf)"}])
def test_a_distance_without_an_end_is_refused(attrs):
    result = analysis(euclidean=1.0 - planted([2, 2]))
    result["euclidean"].attrs = attrs
    with pytest.raises(MeasureError, match="'euclidean' is a distance without an upper end"):
        similarity_of(result, "euclidean")


def test_an_unknown_measure_names_those_in_the_analysis():
    result = analysis(cosine=np.eye(3), cka=np.eye(3))
    with pytest.raises(UsageError) as caught:
        similarity_of(result, "cosin")
    assert str(caught.value) == "unknown measure in this analysis 'cosin': did you mean 'cosine'? Known: cosine, cka"
    with pytest.raises(UsageError, match="the analysis contains no matrix over pairs of layers"):
        similarity_of(xr.Dataset({"norm": ("layer", [1.0])}), "cosine")


def test_replicates_in_the_analysis_give_stability():
    result = analysis(cosine=planted([2, 5, 1]))
    assert segment_measure(result, "cosine").stability is None
    replicates = np.stack([planted([2, 5, 1]), planted([2, 4, 2])]).astype(np.float32)
    result["cosine_bootstrap"] = (("replicate", *DIMS), replicates)
    assert segment_measure(result, "cosine").stability == (1.0, 0.5)


def test_replicates_of_a_distance_are_turned_too():
    result = analysis(angular_distance=1.0 - planted([2, 5, 1], within=1.0))
    result["angular_distance"].attrs = {"range": "[0, 1]"}
    replicates = 1.0 - np.stack([planted([2, 5, 1], within=1.0), planted([2, 4, 2], within=1.0)])
    result["angular_distance_bootstrap"] = (("replicate", *DIMS), replicates)
    assert segment_measure(result, "angular_distance").stability == (1.0, 0.5)


def test_what_counts_as_a_distance():
    assert is_distance(xr.DataArray(1.0 - planted([2, 2])))
    assert not is_distance(xr.DataArray(planted([2, 2])))
    assert not is_distance(xr.DataArray(np.zeros((2, 3))))
    assert not is_distance(xr.DataArray(np.zeros((2, 2))))


@pytest.mark.parametrize(
    ("hurt", "words"),
    [
        (lambda result: result.isel(layer_other=slice(0, 1)), "has 3 layers against 1"),
        (lambda result: result.isel(layer=0), "has 'layer' on \\(\\), expected \\('layer',\\)"),
    ],
)
def test_an_analysis_of_one_capture_has_its_layers_twice(hurt, words):
    whole = analysis(cosine=np.eye(3)).assign_coords(layer=range(3), layer_other=range(3))
    require_analysis(whole, "layer", "layer_other")
    with pytest.raises(UsageError, match=words):
        require_analysis(hurt(whole), "layer", "layer_other")
