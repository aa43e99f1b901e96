"""The best match of each layer in another model: found in planted matrices, similarity or distance, with intervals."""

import numpy as np
import pytest
import xarray

from layerscope.cross_model.layer_matching import best_match
from layerscope.errors import MeasureError, UsageError
from layerscope.measures.analysis import analyze
from tests.measures.captures import capture, walk

ATTRS = {"model": "small", "model_other": "large", "num_blocks": 4, "num_blocks_other": 8, "schedule": "identity"}


def between(values, name="cka", replicates=None, layer=None, **attrs) -> xarray.Dataset:
    values = np.asarray(values, dtype=np.float64)
    made = {name: (("layer", "layer_other"), values, {"long_name": "likeness"})}
    if replicates is not None:
        made[f"{name}_bootstrap"] = (("replicate", "layer", "layer_other"), np.asarray(replicates))
    numbers = np.arange(len(values)) if layer is None else layer
    return xarray.Dataset(made, {"layer": numbers, "layer_other": np.arange(values.shape[1])}, ATTRS | attrs)


def planted(best: list[int], columns: int) -> np.ndarray:
    """Make a matrix whose row i is highest at best[i]."""
    return 1 - np.abs(np.subtract.outer(np.array(best), np.arange(columns))) / 20


def test_the_best_match_in_relative_depth():
    best = [0, 3, 5, 6, 8]
    found = best_match(between(planted(best, 9)))
    assert found["best_layer"].values.tolist() == best
    np.testing.assert_allclose(found["depth"], [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(found["best_depth"], np.array(best) / 8)
    np.testing.assert_allclose(found["best_value"], 1)
    assert found["best_layer_other"].values.tolist() == [0, 0, 1, 1, 1, 2, 3, 3, 4]  # halfway, the first of equals
    np.testing.assert_allclose(found["depth_other"], np.arange(9) / 8)
    np.testing.assert_allclose(found["best_depth_other"], found["best_layer_other"] / 4)
    assert (
        found["best_depth"].attrs["long_name"] == "relative depth of the best match in the other capture, by likeness"
    )
    assert found.attrs["measure"] == "cka"


def test_of_a_distance_the_least():
    best = [0, 3, 5, 6, 8]
    found = best_match(between(1 - planted(best, 9), "procrustes"), "procrustes")
    assert found["best_layer"].values.tolist() == best
    np.testing.assert_allclose(found["best_value"], 0, atol=1e-12)


def test_intervals_come_from_the_replicates():
    best = [0, 3, 5, 6, 8]
    rng = np.random.default_rng(0)
    moved = [np.clip(np.array(best) + rng.integers(-1, 2, 5), 0, 8) for _ in range(40)]
    replicates = np.stack([planted(list(each), 9) for each in moved])
    found = best_match(between(planted(best, 9), replicates=replicates))
    low, high = np.percentile(np.array(moved) / 8, [2.5, 97.5], axis=0)
    np.testing.assert_allclose(found["best_depth_low"], low)
    np.testing.assert_allclose(found["best_depth_high"], high)
    values = replicates[:, np.arange(5), best]
    np.testing.assert_allclose(found["best_value_low"], np.percentile(values, 2.5, axis=0))
    assert found["best_depth_other_low"].dims == ("layer_other",)
    assert "best_depth_low" not in best_match(between(planted(best, 9)))


def test_layers_that_were_not_stored_keep_their_depth():
    found = best_match(between(planted([1, 2], 9), layer=[1, 3]))
    np.testing.assert_allclose(found["depth"], [0.25, 0.75])
    found = best_match(between(planted([1, 2], 9), layer=[1, 3], schedule="skip:1"))
    np.testing.assert_allclose(found["depth"], [1 / 3, 1])  # under a schedule the blocks say nothing of its stages


def test_a_deeper_copy_of_a_model_is_matched_to_itself():
    states = walk(60, 4, 6)
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))[0]
    twice = np.repeat(states, 2, axis=1) @ rotation
    for measure in ("cka", "procrustes"):
        result = analyze(capture(states, [30, 30]), capture(twice, [30, 30]), measures=[measure])
        assert best_match(result, measure)["best_layer"].values.tolist() == [0, 2, 4, 6]


def test_what_has_no_match_is_refused():
    nothing = planted([0, 1, 2], 4)
    nothing[1] = np.nan
    with pytest.raises(MeasureError, match="layer 1 has no cka with any other"):
        best_match(between(nothing))
    with pytest.raises(UsageError, match="is of one capture, where each layer is its own best match"):
        best_match(analyze(capture(walk(30, 3, 4)), measures=["cka"]))
    with pytest.raises(UsageError, match="unknown measure in this analysis 'procrustes'"):
        best_match(between(np.eye(3)), "procrustes")


@pytest.mark.parametrize("value", ["x", -1, 0, float("nan"), [4], 4.5, True])
@pytest.mark.parametrize("name", ["num_blocks", "num_blocks_other"])
def test_a_number_of_blocks_that_is_none_is_refused_by_name(name, value):
    with pytest.raises(
        MeasureError, match=f"the analysis: its attribute {name} .* must be a whole number of at least 1"
    ):
        best_match(between(planted([0, 1, 2], 4), **{name: value}))
