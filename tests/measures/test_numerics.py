"""Every measure on states that strain arithmetic, held against its oracle in float64 on the same numbers.

A massive token, any scale in float32, ranks that storage blurs, rows that are equal but for rounding, a capture beside itself.
"""

import numpy as np
import pytest
import xarray

from layerscope.errors import MeasureError
from layerscope.measures.analysis import analyze
from layerscope.measures.catalogue import MEASURES
from layerscope.measures.record import Invariance, Kind, Measure
from tests.measures.captures import capture, walk
from tests.measures.estimators.test_estimator import few_rows
from tests.measures.oracles import ORACLES
from tests.measures.test_laws import PLACE

LENGTHS = [13, 1, 16, 8, 18]
TOKENS, WIDTH = sum(LENGTHS), 6
CORRELATIONS = ["cca_mean", "cca_r2", "svcca", "pwcca", "linear_r2", "eigenspace_overlap"]

by_name = pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES.keys())
by_pair = pytest.mark.parametrize(
    "measure", [m for m in MEASURES.values() if m.kind is Kind.PAIRWISE], ids=lambda m: m.name
)
scale_free = pytest.mark.parametrize(
    "measure", [m for m in MEASURES.values() if Invariance.SCALE in m.invariances], ids=lambda m: m.name
)


def single(states: np.ndarray) -> np.ndarray:
    """Round to float32."""
    return states.astype(np.float32)


def matrix(measure: Measure, states: np.ndarray, **options: int) -> np.ndarray:
    """Compute a measure of all layers or pairs."""
    found: np.ndarray = analyze(capture(states, LENGTHS), measures=[measure.name], **options)[measure.name].to_numpy()
    return found


def value(measure: Measure, states: np.ndarray) -> float:
    """Compute the measure of layers 0 and 1, of layer 1, or of the block between them."""
    return float(matrix(measure, states)[PLACE[measure.kind]])


def expected(measure: Measure, states: np.ndarray) -> float:
    """Compute the oracle in float64."""
    exact = states.astype(np.float64)
    return ORACLES[measure.name](exact[:, 0], exact[:, 1], LENGTHS)


def within(measure: Measure, found: np.ndarray) -> bool:
    """Say whether all values are in the range, to the last bit."""
    return bool(((found >= measure.low) & (found <= measure.high) | np.isnan(found)).all())


@by_name
@pytest.mark.parametrize("streamed", [False, True], ids=["rows", "sums"])
@pytest.mark.parametrize("length", [1e3, 1e5])
def test_beside_a_massive_token(measure: Measure, length: float, streamed: bool):
    states = walk(TOKENS, 3, WIDTH, seed=4)
    states[7] *= length
    states = single(states)
    with pytest.MonkeyPatch.context() as patch:
        if streamed and measure.name != "cka" and measure.estimator.endswith(("Covariance", "Means")):
            few_rows(patch, exact=TOKENS - 1)
        found = matrix(measure, states, memory=10**9)
    assert within(measure, found)
    one = float(found[PLACE[measure.kind]])
    assert one == pytest.approx(expected(measure, states), rel=2e-5, abs=2e-6)


@scale_free
@pytest.mark.parametrize("scale", [(1e10, 1.0), (1e30, 1e-30), (1e-30, 1e-30), (1e30, 1e30), (1.0, 1e-30)])
def test_no_scale_matters_in_float32(measure: Measure, scale: tuple[float, float]):
    states = single(walk(TOKENS, 2, WIDTH, seed=5))
    scaled = states * np.float32(scale)[None, :, None]
    assert scaled.dtype == np.float32
    # The scales are no powers of two, so each value is rounded once more.
    assert value(measure, scaled) == pytest.approx(expected(measure, states), rel=1e-5, abs=2e-6)


@by_name
def test_lengths_of_any_scale_are_finite(measure: Measure):
    if Invariance.SCALE in measure.invariances:
        return
    states = single(walk(TOKENS, 2, WIDTH, seed=5) * np.array([1e25, 1e-25])[:, None])
    for order in ([0, 1], [1, 0]):
        assert value(measure, states[:, order]) == pytest.approx(expected(measure, states[:, order]), rel=1e-5)


@by_pair
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("exact", [None, 20], ids=["all rows", "sample"])
def test_a_capture_beside_itself_has_the_self_value(measure: Measure, dtype: type, exact: int | None):
    states = walk(TOKENS, 3, WIDTH, dtype=dtype)
    states[:, 2] = states[:, 0]
    whole = capture(states, LENGTHS)
    with pytest.MonkeyPatch.context() as patch:
        if exact is not None:
            few_rows(patch, exact=exact)
        alone = analyze(whole, measures=[measure.name])[measure.name].to_numpy()
        both = analyze(whole, whole, measures=[measure.name])[measure.name].to_numpy()
    for found in (alone, both):
        assert set(np.diag(found)) == {measure.self_value}
        assert found[0, 2] == found[2, 0] == measure.self_value
        assert within(measure, found)


@by_pair
def test_layers_that_differ_in_one_token_are_not_equal(measure: Measure):
    states = walk(TOKENS, 2, WIDTH)
    states[:, 1] = states[:, 0]
    states[-2:, 1] += 1.0
    assert value(measure, states) != measure.self_value or measure.name.startswith(("rsa", "knn"))


def low_rank(tokens: int, width: int, uneven: float, massive: float) -> np.ndarray:
    """Draw two layers of rank 8 that share most of what they say, their features of unlike sizes."""
    rng = np.random.default_rng(0)
    content = rng.normal(size=(tokens, 8))
    layers = []
    for noise in (0.0, 0.3):
        mixed = (content + noise * rng.normal(size=(tokens, 8))) @ rng.normal(size=(8, width))
        layers.append(mixed * np.exp(uneven * rng.normal(size=width)))
    states = np.stack(layers, axis=1)
    states[3] *= massive
    return states


@pytest.mark.parametrize("name", [*CORRELATIONS, "alpha_req", "rankme", "effective_rank"])
@pytest.mark.parametrize(("shape", "uneven", "massive"), [((230, 28), 0, 1), ((400, 64), 1, 1), ((300, 40), 1, 1e4)])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_rank_is_that_of_the_stored_precision(
    name: str, shape: tuple[int, int], uneven: float, massive: float, dtype: type
):
    """Beyond rank 8 there is nothing but the rounding of float32 or float16."""
    if dtype == np.float16 and massive > 1:
        massive = 30
    exact = low_rank(*shape, uneven, massive)
    found, right = (
        analyze(capture(states), measures=[name])[name].to_numpy().ravel()[1] for states in (exact.astype(dtype), exact)
    )
    assert found == pytest.approx(right, rel=2e-3 if dtype == np.float16 else 2e-5)


def nearly_equal(states: np.ndarray, groups: int, rounding: float, seed: int = 0) -> np.ndarray:
    """Repeat the first tokens, each copy off by rounding."""
    rng = np.random.default_rng(seed)
    again = states[np.r_[0 : len(states), np.tile(np.arange(groups), 5)]]
    return again * (1 + rounding * rng.normal(size=again.shape))


@pytest.mark.parametrize(
    "name", ["two_nn", "mutual_knn", "knn_jaccard", "rank_similarity", "second_order_cosine", "cknna"]
)
@pytest.mark.parametrize(("dtype", "compute_dtype"), [(np.float64, None), (np.float32, None), (np.float32, "bfloat16")])
def test_rows_equal_but_for_rounding_count_once(name: str, dtype: type, compute_dtype: str | None):
    """As of texts that share a prefix, whose states depend on the batch in the last digits."""
    states = walk(60, 3, 24, seed=6)
    states[:, 1:, 5] += 300.0  # a massive feature of all tokens makes none of them alike
    precision = 2.0**-8 if compute_dtype else np.finfo(dtype).eps
    found = []
    for seed in range(2):
        noisy = nearly_equal(states, 9, precision, seed).astype(dtype)
        attrs = {} if compute_dtype is None else {"compute_dtype": compute_dtype}
        found.append(analyze(capture(noisy, attrs=attrs), measures=[name])[name])
    once = analyze(capture(states), measures=[name])[name].to_numpy()
    for each in found:
        np.testing.assert_allclose(each, once, rtol=0.1 if compute_dtype else 1e-3)
    if name != "two_nn":
        assert found[0].attrs["distinct_tokens"] == 60


@pytest.mark.parametrize("name", CORRELATIONS)
@pytest.mark.parametrize("change", ["equal", "rounding", "multiple", "mean of others", "zero", "none"])
def test_too_few_tokens_are_refused_whatever_they_have_in_common(name: str, change: str):
    """Independent layers of 100 tokens and 144 features, where one token adds no direction."""
    states = single(np.random.default_rng(8).normal(size=(100, 2, 144)))
    if change != "none":
        states[7] = {
            "equal": states[3],
            "rounding": states[3] * np.float32(1 + 1e-6),
            "multiple": 2 * states[3],
            "mean of others": states[4:7].mean(0),
            "zero": 0 * states[3],
        }[change]
    with pytest.raises(
        MeasureError, match=rf"layer 0 \(embedding\): {name} has no meaning there, because its 100 tokens"
    ):
        analyze(capture(states), measures=[name])


def test_features_and_layers_that_vary_by_rounding_only_do_not_vary():
    rng = np.random.default_rng(9)
    states = single(walk(TOKENS, 2, WIDTH))
    same = states.copy()
    states[:, :, 2] = 1.5 * (1 + 1e-7 * rng.normal(size=(TOKENS, 2)))
    same[:, :, 2] = 1.5
    for name in ("correlation_match_soft", "correlation_match_hard"):
        assert value(MEASURES[name], states) == pytest.approx(value(MEASURES[name], same), abs=1e-6)
    still = states.copy()
    still[:, 1] = still[0, 1] * single(1 + 1e-7 * rng.normal(size=(TOKENS, WIDTH)))
    with pytest.raises(MeasureError, match=r"layer 1 \(block.0\) is the same for every token: cka has no meaning"):
        matrix(MEASURES["cka"], still)


def test_steps_of_rounding_are_no_steps():
    """Repeated tokens without positions: the same state again, but for its last digit."""
    states = single(walk(9, 1, 12)).repeat(2, axis=1)
    states[4] = states[3]
    noisy = states * single(1 + 1e-7 * np.random.default_rng(0).normal(size=states.shape))
    clean, rough = (analyze(capture(each), measures=["curvature"])["curvature"] for each in (states, noisy))
    np.testing.assert_allclose(rough, clean, atol=1e-5)


@pytest.mark.parametrize(
    ("scale", "said"),
    [
        (1e200, "row 0 .*: the value .* is beyond the range of float32"),
        (1e-200, "is below the normal range of float32"),
    ],
)
@pytest.mark.parametrize("name", sorted(MEASURES))
def test_float64_states_beyond_float32_are_refused_by_layer(name: str, scale: float, said: str):
    states = walk(40, 3, 12)
    states[:, 1] *= scale
    with pytest.raises(MeasureError, match=rf"layer 1 \(block.0\).*{said}"):
        analyze(capture(states, [5] * 8), measures=[name])


def test_the_precision_of_a_capture_is_that_of_its_coarser_type(tmp_path):
    from layerscope.store.opening import open_source

    half = capture(walk(9, 1, 3).astype(np.float16))
    assert open_source(half).precision == 2.0**-10
    assert open_source(capture(single(walk(9, 1, 3)), attrs={"compute_dtype": "bfloat16"})).precision == 2.0**-7
    assert isinstance(half, xarray.Dataset)
