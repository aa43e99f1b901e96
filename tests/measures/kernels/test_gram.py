"""The criterion of Gram matrices: against its definition as a U-statistic, in groups, in float32 beside enormous values."""

from itertools import permutations

import numpy as np
import pytest
import torch

from layerscope.measures.kernels import gram
from layerscope.measures.kernels.gram import GramSums
from tests.measures.captures import walk
from tests.measures.oracles import hsic_1

ALL = np.ones((1, 1))


def test_debiased_criterion_is_the_u_statistic():
    """Song et al. 2012, theorem 4: the mean over ordered quadruples of distinct tokens of the kernel h."""
    n = 6
    X, Y = walk(n, 1, 3, seed=0)[:, 0], walk(n, 1, 4, seed=1)[:, 0]
    K, L = X @ X.T, Y @ Y.T
    quadruples = list(permutations(range(n), 4))
    total = 0.0
    for i, j, q, r in quadruples:
        total += K[i, j] * (L[i, j] + L[q, r] - 2 * L[i, q])
    found = GramSums(torch.from_numpy(X[:, None]), torch.from_numpy(Y[:, None])).criterion(ALL, debiased=True)
    assert found.cross.item() == pytest.approx(total / len(quadruples), rel=1e-12)
    assert hsic_1(K, L) == pytest.approx(total / len(quadruples), rel=1e-12)


@pytest.mark.parametrize("other_layers", [None, 2])
@pytest.mark.parametrize("block_bytes", [1, 5_000, 10**9])
def test_selections_of_groups(monkeypatch: pytest.MonkeyPatch, other_layers: int | None, block_bytes: int):
    """Any selection of groups, however the blocks are cut, is the criterion of those tokens alone."""
    monkeypatch.setattr(gram, "_BLOCK_BYTES", block_bytes)
    X = walk(61, 3, 5, seed=2)
    Y = X if other_layers is None else walk(61, other_layers, 7, seed=3)
    group = np.random.default_rng(0).integers(0, 5, 61)
    masks = np.array([[1, 1, 1, 1, 1], [1, 0, 0, 1, 0], [0, 1, 1, 0, 1.0]])
    sums = GramSums(torch.from_numpy(X), None if other_layers is None else torch.from_numpy(Y), group, 5)
    debiased, plain = (sums.criterion(masks, debiased=flag) for flag in (True, False))
    for index, mask in enumerate(masks):
        kept = mask[group] > 0
        for layer in range(3):
            A = X[kept, layer]
            assert debiased.own[index, layer] == pytest.approx(hsic_1(A @ A.T, A @ A.T), rel=1e-10)
            for other in range(Y.shape[1]):
                B = Y[kept, other]
                assert debiased.cross[index, layer, other] == pytest.approx(
                    hsic_1(A @ A.T, B @ B.T), rel=1e-9, abs=1e-9
                )
                norm = np.linalg.norm((B - B.mean(0)).T @ (A - A.mean(0))) ** 2
                assert plain.cross[index, layer, other] == pytest.approx(norm, rel=1e-10)


def test_fewer_than_four_tokens_have_no_debiased_criterion():
    sums = GramSums(torch.from_numpy(walk(9, 2, 3)), None, np.array([0, 0, 0, 1, 1, 1, 1, 1, 1]), 2)
    found = sums.criterion(np.array([[1, 0], [0, 1.0]]), debiased=True).cross
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()


@pytest.mark.parametrize("mean", [0.0, 1e4])
def test_float32_beside_massive_activations(mean: float):
    """A token in ten with a value of 25,000 in one feature, the others about 1, and a large mean."""
    X = walk(400, 3, 16, seed=4) + mean
    X[::10, 1:, 5] += 25_000 + np.random.default_rng(0).normal(size=(40, 1)) * 50
    X = X.astype(np.float32)
    single = GramSums(torch.from_numpy(X)).criterion(ALL, debiased=True).normalized()[0]
    double = GramSums(torch.from_numpy(X).double()).criterion(ALL, debiased=True).normalized()[0]
    np.testing.assert_allclose(single, double, atol=2e-5)
    expected = hsic_1(*(X[:, layer].astype(float) @ X[:, layer].astype(float).T for layer in (0, 1)))
    assert GramSums(torch.from_numpy(X)).criterion(ALL, debiased=True).cross[0, 0, 1] == pytest.approx(
        expected, rel=2e-3
    )


def test_equally_alike_tokens_are_no_direction():
    """All distances equal: nothing is left of the Gram matrix but rounding, which must not be divided by."""
    X = torch.eye(40)[:, None]
    assert GramSums(X).criterion(ALL, debiased=True).own.item() == 0
