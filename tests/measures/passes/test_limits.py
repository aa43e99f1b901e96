"""What rounding carries out of a range is brought back; anything further is refused, with the layers named."""

import numpy as np
import pytest
import torch

from layerscope.errors import MeasureError
from layerscope.measures.accumulators.equal_layers import EqualLayers
from layerscope.measures.catalogue import MEASURES
from layerscope.measures.context import AnalysisContext, Axis
from layerscope.measures.estimate import Estimate
from layerscope.measures.passes.limits import keep_limits

CONTEXT = AnalysisContext(Axis(np.arange(2), ("embedding", "block.0"), 4), None, torch.float32, None)
NONE = np.zeros((2, 2), bool)


def test_rounding_is_brought_back_and_nothing_more():
    found = keep_limits(
        MEASURES["cosine"], Estimate(np.array([[1 + 1e-7, -0.5], [np.nan, -1 - 1e-6]]), 9, ""), CONTEXT, NONE
    )
    np.testing.assert_array_equal(found.value, [[1, -0.5], [np.nan, -1]])
    unbounded = keep_limits(MEASURES["norm"], Estimate(np.array([1e30, -1e-9]), 9, ""), CONTEXT, NONE)
    np.testing.assert_array_equal(unbounded.value, [1e30, 0])
    wrong = Estimate(np.array([[1, 0.5], [1.01, 1]]), 9, "")
    refusal = (
        r"layer 1 \(block.0\) and layer 0 \(embedding\): cka comes out as 1.01, outside of \[-1, 1\] by more than rounding: "
        "the states are beyond its precision; leave cka or the layer out"
    )
    with pytest.raises(MeasureError, match=refusal):
        keep_limits(MEASURES["cka"], wrong, CONTEXT, NONE)


def test_equal_layers_have_the_self_value_in_every_replicate():
    estimate = Estimate(np.array([[0.1, 0.2], [0.3, 0.4]]), 9, "", replicates=np.full((3, 2, 2), 0.7))
    found = keep_limits(MEASURES["procrustes"], estimate, CONTEXT, np.eye(2, dtype=bool))
    np.testing.assert_array_equal(found.value, [[0, 0.2], [0.3, 0]])
    assert found.replicates is not None
    np.testing.assert_array_equal(found.replicates[:, [0, 1], [0, 1]], 0)
    np.testing.assert_array_equal(found.replicates[:, [0, 1], [1, 0]], 0.7)


@pytest.mark.parametrize("cuts", [[30], [10, 20], [29, 1]])
def test_layers_are_equal_if_they_are_at_every_token(cuts: list[int]):
    states = torch.randn(30, 4, 5, generator=torch.Generator().manual_seed(0))
    states[:, 2] = states[:, 0]
    states[:29, 3] = states[:29, 1]
    alone, both = EqualLayers([4]), EqualLayers([4, 4])
    for part in states.split(cuts):
        more = EqualLayers([4])
        more.update([part])
        alone.merge(more)
        both.update([part, part.clone()])
    expected = np.eye(4, dtype=bool)
    expected[[0, 2], [2, 0]] = True
    np.testing.assert_array_equal(alone.equal, expected)
    np.testing.assert_array_equal(both.equal, expected)
