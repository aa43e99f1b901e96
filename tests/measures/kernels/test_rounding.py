"""Which rows are equal: as a search of all pairs finds them, whatever the scale, the massive features and the order."""

import numpy as np
import pytest
import torch

from layerscope.measures.kernels.rounding import equal_rows, rounding_scale, row_tolerance

EPSILON = torch.finfo(torch.float32).eps


def by_all_pairs(states: torch.Tensor, tolerance: float) -> list[int]:
    """Compare each row with the first rows before it."""
    scaled = rounding_scale(states)
    first: list[int] = []
    for row in range(len(scaled)):
        leaders = [one for one in range(row) if first[one] == one and (scaled[one] - scaled[row]).norm() <= tolerance]
        first.append(leaders[0] if leaders else row)
    return first


@pytest.mark.parametrize("tolerance", [row_tolerance(EPSILON), 0.05])
@pytest.mark.parametrize("width", [1, 3, 40])
def test_rows_are_found_as_by_all_pairs(width: int, tolerance: float):
    rng = torch.Generator().manual_seed(width)
    few = torch.randn(30, width, generator=rng)
    states = few[torch.randint(30, (200,), generator=rng)]
    states *= 1 + tolerance / 2 * torch.randn(200, width, generator=rng)
    found = equal_rows(states, tolerance)
    assert found.tolist() == by_all_pairs(states, tolerance)
    assert len(np.unique(found)) < 200


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_neither_scale_nor_a_massive_feature_makes_rows_alike(scale: float):
    rng = torch.Generator().manual_seed(0)
    states = torch.randn(50, 64, generator=rng)
    states[:, 7] += 3e4
    again = states * (1 + EPSILON * torch.randn(50, 64, generator=rng))
    found = equal_rows(torch.cat([states, again]) * scale, row_tolerance(EPSILON))
    np.testing.assert_array_equal(found, np.tile(np.arange(50), 2))


def test_twice_a_row_is_another_row_and_a_negative_zero_a_zero():
    states = torch.tensor([[1.0, 2.0], [2.0, 4.0], [0.0, 0.0], [-0.0, 0.0], [1.0, 2.0]])
    np.testing.assert_array_equal(equal_rows(states, 0.05), [0, 1, 2, 2, 0])
