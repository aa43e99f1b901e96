"""What is particular to single per-layer statistics: known values, gaps, repeated states, refusals."""

import numpy as np
import pytest
import torch

from layerscope.errors import MeasureError
from layerscope.measures.accumulators.row_sample import RowSample
from layerscope.measures.analysis import analyze
from layerscope.measures.context import AnalysisContext, Axis
from layerscope.measures.estimators.curvature import Curvature
from layerscope.measures.kernels import spectra
from layerscope.states import StateRows
from tests.measures.captures import capture, walk
from tests.measures.estimators.test_estimator import few_rows
from tests.measures.oracles import ORACLES

LENGTHS = [9, 6, 14, 8, 21]
TOKENS = sum(LENGTHS)
SPECTRAL = ["participation_ratio", "effective_rank", "rankme", "stable_rank", "matrix_entropy", "alpha_req", "isoscore"]


def measured(name: str, states: np.ndarray, lengths: list[int] | None = None, **options: int) -> np.ndarray:
    """Compute a statistic of all layers."""
    found: np.ndarray = analyze(capture(states, lengths or LENGTHS), measures=[name], **options)[name].to_numpy()
    return found


def spread(widths: list[float], tokens: int = 4000) -> np.ndarray:
    """Draw one layer of normal states with these standard deviations, turned."""
    rng = np.random.default_rng(3)
    turn = np.linalg.qr(rng.normal(size=(len(widths), len(widths))))[0]
    return (rng.normal(size=(tokens, len(widths))) * widths @ turn)[:, None]


def test_each_layer_is_decomposed_once_for_all_spectra(monkeypatch: pytest.MonkeyPatch):
    decomposed = []
    monkeypatch.setattr(
        spectra.torch.linalg,
        "eigvalsh",
        lambda matrix, eigvalsh=torch.linalg.eigvalsh: decomposed.append(1) or eigvalsh(matrix),
    )
    states = capture(walk(TOKENS, 3, 5), LENGTHS)
    analyze(states, measures=SPECTRAL)
    assert len(decomposed) == 3
    analyze(states, measures=SPECTRAL, bootstrap=10)
    assert len(decomposed) == 3 + 3 + 10 * 3
    analyze(states, measures=["participation_ratio", "isoscore"])
    assert len(decomposed) == 36


def test_known_spectra():
    alike, one = spread([2.0] * 8), spread([5.0] + [1e-4] * 7)
    for name, expected in {"rankme": 8, "stable_rank": 8, "isoscore": 1, "matrix_entropy": np.log(8)}.items():
        assert measured(name, alike, [4000])[0] == pytest.approx(expected, rel=0.12)
    for name, expected in {"rankme": 1, "stable_rank": 1, "isoscore": 0, "matrix_entropy": 0}.items():
        assert measured(name, one, [4000])[0] == pytest.approx(expected, abs=2e-3)


def test_power_law_is_found_between_its_ends():
    rank = np.arange(1, 41)
    states = spread(list(rank**-0.6), 20_000)
    result = analyze(capture(states, [20_000]), measures=["alpha_req"])["alpha_req"]
    assert result.item() == pytest.approx(1.2, abs=0.03)
    assert (result.attrs["fit_from"], result.attrs["fit_to"]) == (5, 20)


def test_rank_lost_by_repeated_features_is_lost():
    """Eigenvalues that are zero but for rounding count for nothing, also where only sums are held."""
    states = walk(TOKENS, 2, 3)
    doubled = np.concatenate([states, states[:, :, :1] * 2, states[:, :, 1:2]], axis=2)
    with pytest.MonkeyPatch.context() as patch:
        few_rows(patch)
        on_sums = {name: measured(name, doubled)[1] for name in SPECTRAL}
    for name in SPECTRAL:
        expected = ORACLES[name](doubled[:, 0], doubled[:, 1], LENGTHS)
        assert on_sums[name] == pytest.approx(expected, rel=1e-10), name
    assert on_sums["rankme"] < 3


@pytest.mark.parametrize("name", ["alpha_req", "isoscore"])
def test_states_along_one_direction(name: str):
    states = walk(TOKENS, 2, 1)
    with pytest.raises(
        MeasureError, match=rf"layer 0 \(embedding\): {name} has no meaning there, because .*; leave {name} out"
    ):
        measured(name, states)


def test_alpha_of_states_on_a_line_in_many_features(monkeypatch: pytest.MonkeyPatch):
    states = walk(TOKENS, 2, 4)
    states[:, 1] = np.arange(TOKENS)[:, None] * np.array([1.0, -2.0, 0.0, 0.5])
    told = r"layer 1 \(block.0\): alpha_req has no meaning there, because its states spread in too few directions"
    with pytest.raises(MeasureError, match=told):
        measured("alpha_req", states)
    few_rows(monkeypatch)
    with pytest.raises(MeasureError, match=told):
        measured("alpha_req", states, memory=600)  # a layer a pass


def test_anisotropy_of_known_directions():
    states = np.zeros((4, 3, 2))
    states[:, 0] = [3, 4]
    states[:, 1] = [[1, 0], [-2, 0], [0, 5], [0, -1]]
    states[:, 2] = [[1, 0], [2, 0], [0, 1], [0, 0]]
    result = analyze(capture(states), measures=["anisotropy"])["anisotropy"]
    np.testing.assert_allclose(result, [1, -1 / 3, 1 / 3], atol=1e-15)
    assert result.attrs["zero_state_tokens"] == 1


def test_anisotropy_without_two_directions():
    states = walk(4, 2, 3)
    states[1:, 1] = 0
    with pytest.raises(
        MeasureError, match=r"layer 1 \(block.0\): anisotropy has no meaning there, because all of its tokens, or"
    ):
        measured("anisotropy", states, [4])


@pytest.mark.parametrize("dimensions", [1, 2, 5])
def test_two_nn_finds_the_dimension_of_a_manifold(dimensions: int):
    rng = np.random.default_rng(1)
    inside = rng.uniform(size=(3000, dimensions))
    folded = np.concatenate([inside, inside**2], axis=1) @ rng.normal(size=(2 * dimensions, 12))
    assert measured("two_nn", folded[:, None], [3000])[0] == pytest.approx(dimensions, rel=0.08)


def test_two_nn_takes_repeated_states_as_one():
    states = walk(60, 1, 4)
    again = states[np.r_[0:60, 0:60, 3, 3, 3]]
    assert measured("two_nn", again, [123]) == pytest.approx(measured("two_nn", states, [60]), rel=1e-12)


def test_two_nn_needs_neighbours_at_different_distances():
    grid = np.stack(np.meshgrid(*[np.arange(4.0)] * 3), axis=-1).reshape(64, 1, 3)
    with pytest.raises(MeasureError, match=r"layer 0 \(embedding\): two_nn has no meaning there, because all nearest"):
        measured("two_nn", grid, [64])
    with pytest.raises(
        MeasureError, match=r"layer 0 \(embedding\): two_nn has .* 2 different states and needs at least 3"
    ):
        measured("two_nn", grid[[0, 1] * 5], [10])


def test_two_nn_of_many_tokens_is_that_of_a_seeded_sample(monkeypatch: pytest.MonkeyPatch):
    few_rows(monkeypatch, exact=40)
    result = analyze(capture(walk(TOKENS, 2, 4), LENGTHS), measures=["two_nn"], bootstrap=5)
    assert result["two_nn"].attrs["sample"] == result["two_nn"].attrs["tokens"] == 40
    assert "seeded sample" in result["two_nn"].attrs["estimator"]
    assert result["two_nn_low"].attrs["interval_sample"] == 40


def test_curvature_of_known_paths():
    straight = np.arange(6.0)[:, None] * [1.0, 2.0]
    zigzag = np.array([[0.0, 0], [1, 0], [0, 0], [1, 0], [0, 0], [1, 0]])
    stairs = np.array([[0.0, 0], [1, 0], [1, 1], [2, 1], [2, 2], [3, 2]])
    found = measured("curvature", np.stack([straight, zigzag, stairs], axis=1), [6])
    np.testing.assert_allclose(found, [0, np.pi, np.pi / 2], atol=1e-7)


def test_curvature_leaves_gaps_out():
    states = walk(10, 2, 4)
    whole = capture(states, [10])
    gappy = whole.isel(token=[0, 1, 2, 4, 5, 7, 8, 9])
    result = analyze(gappy, measures=["curvature"])["curvature"]
    turns = [ORACLES["curvature"](states[part, 0], states[part, 1], [3]) for part in (slice(0, 3), slice(7, 10))]
    assert result[1].item() == pytest.approx(np.mean(turns), rel=1e-12)
    with pytest.raises(
        MeasureError, match="no sequence has three different states at consecutive positions; capture with --tokens all"
    ):
        analyze(whole.isel(token=[0, 1, 3, 4, 6, 7, 9]), measures=["curvature"])


def test_curvature_of_two_captures_needs_tokens_that_follow_in_both():
    """Captures of two tokenizers share some tokens only: what is next in one may not be next in the other."""
    states, other = walk(8, 2, 4), walk(8, 2, 5, seed=1)
    positions = [np.arange(8), np.array([0, 1, 2, 3, 5, 6, 7, 8])]
    axes = [Axis(np.arange(2), ("embedding", "block.0"), width) for width in (4, 5)]
    context = AnalysisContext(*axes, torch.float64, np.arange(8))
    estimator = Curvature(context, RowSample(context), frozenset({"curvature"}))
    slot = np.zeros(8, np.int64)
    estimator.update(
        *(
            StateRows(torch.from_numpy(each), np.arange(8), slot, position, slot)
            for each, position in zip((states, other), positions, strict=True)
        )
    )
    found = estimator.estimate("curvature")
    for value, each in ((found.value, states), (found.value_other, other)):
        turns = [ORACLES["curvature"](each[t : t + 3, 0], each[t : t + 3, 1], [3]) for t in (0, 1, 4, 5)]
        assert value[1] == pytest.approx(np.mean(turns), rel=1e-12)


def test_curvature_without_the_first_positions():
    states = walk(TOKENS, 2, 4)
    kept = [token for token, length in enumerate(np.concatenate([np.arange(each) for each in LENGTHS])) if length >= 2]
    expected = ORACLES["curvature"](states[kept, 0], states[kept, 1], [length - 2 for length in LENGTHS])
    assert measured("curvature", states, exclude_first=2)[1] == pytest.approx(expected, rel=1e-12)


def test_curvature_of_a_layer_that_never_moves_twice():
    states = walk(6, 2, 3)
    states[1:, 1] = states[1, 1]
    with pytest.raises(MeasureError, match=r"layer 1 \(block.0\): curvature has no meaning there, because no two"):
        measured("curvature", states, [6])


def test_few_rows_wait_for_their_neighbours_where_rows_come_in_order():
    axis = Axis(np.arange(2), ("embedding", "block.0"), 3)
    context = AnalysisContext(axis, None, torch.float64, np.arange(TOKENS), len(LENGTHS))
    estimator = Curvature(context, RowSample(context), frozenset({"curvature"}))
    states, slot = torch.from_numpy(walk(TOKENS, 2, 3)), np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    position = np.concatenate([np.arange(length) for length in LENGTHS])
    for start in range(0, TOKENS, 7):
        part = np.arange(start, min(start + 7, TOKENS))
        estimator.update(StateRows(states[part], part, slot[part], position[part], part), None)
        assert len(estimator.waiting.rows) == 2
