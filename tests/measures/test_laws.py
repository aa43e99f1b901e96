"""Every measure keeps what its record promises: invariances and their absence, self-value, symmetry, range, least tokens."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import ortho_group

from layerscope.errors import MeasureError
from layerscope.measures.analysis import analyze
from layerscope.measures.catalogue import MEASURES
from layerscope.measures.record import Invariance, Kind, Measure
from tests.measures.captures import capture, walk
from tests.measures.oracles import ORACLES

LENGTHS = [9, 1, 14, 8, 16]
TOKENS, WIDTH = sum(LENGTHS), 6

REFUSED = (
    "tokens are all equally alike",
    "same for every token",
    "pairs of its tokens are equal",
    "has one value in all its features",
    "is all zero and has no direction",
    "has no meaning",
    "different states",
)

PLACE = {Kind.PAIRWISE: (0, 1), Kind.PER_LAYER: 1, Kind.PER_BLOCK: 0}

by_name = pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES.keys())
by_pair = pytest.mark.parametrize(
    "measure", [m for m in MEASURES.values() if m.kind is Kind.PAIRWISE], ids=lambda m: m.name
)


def value(measure: Measure, states: np.ndarray, lengths: list[int] | None = None) -> float:
    """Compute the measure of layers 0 and 1, of layer 1, or of the block between them."""
    result = analyze(capture(states, lengths or LENGTHS), measures=[measure.name])[measure.name]
    return float(result[PLACE[measure.kind]])


def _each(change: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    def changed(states: np.ndarray) -> np.ndarray:
        rng = np.random.default_rng(7)
        return np.stack([change(states[:, layer], rng) for layer in range(states.shape[1])], axis=1)

    return changed


def _rotation(rng: np.random.Generator) -> np.ndarray:
    return ortho_group.rvs(WIDTH, random_state=rng)


CHANGES: dict[Invariance, Callable[[np.ndarray], np.ndarray]] = {
    Invariance.ROTATION: _each(lambda X, rng: X @ _rotation(rng)),
    Invariance.COMMON_ROTATION: lambda states: states @ _rotation(np.random.default_rng(7)),
    Invariance.PERMUTATION: _each(lambda X, rng: X[:, rng.permutation(WIDTH)]),
    Invariance.SCALE: _each(lambda X, rng: X * rng.uniform(2, 9)),
    Invariance.TOKEN_SCALE: _each(lambda X, rng: X * rng.uniform(0.1, 9, size=(len(X), 1))),
    Invariance.TRANSLATION: _each(lambda X, rng: X + rng.normal(size=WIDTH) * 5),
    Invariance.INVERTIBLE_LINEAR: _each(lambda X, rng: X @ rng.normal(size=(WIDTH, WIDTH))),
}


def test_every_invariance_is_tried():
    assert set(CHANGES) == set(Invariance)


@by_name
@pytest.mark.parametrize("invariance", Invariance)
def test_declared_invariances_hold_and_others_break(measure: Measure, invariance: Invariance):
    states = walk(TOKENS, 2, WIDTH)
    before, after = value(measure, states), value(measure, CHANGES[invariance](states))
    if invariance in measure.invariances:
        assert after == pytest.approx(before, rel=1e-9, abs=1e-9)
    else:
        # Features that match one to one in place would hide that a match can be lost: the second time they do not.
        for layers in (states, np.stack([states[:, 0], np.roll(states[:, 1], 1, axis=-1)], axis=1)):
            before, after = value(measure, layers), value(measure, CHANGES[invariance](layers))
            if abs(after - before) > 1e-4 * abs(before):
                return
        pytest.fail(f"{measure.name} does not change under {invariance}")


@by_name
def test_agrees_with_the_oracle(measure: Measure):
    states = walk(TOKENS, 2, WIDTH, seed=1)
    expected = ORACLES[measure.name](states[:, 0], states[:, 1], LENGTHS)
    assert value(measure, states) == pytest.approx(expected, rel=1e-10, abs=1e-10)


@by_name
def test_agrees_with_the_oracle_with_fewer_tokens_than_features(measure: Measure):
    lengths = [3, max(4, measure.least_tokens)]
    states = walk(sum(lengths), 2, 20, seed=2)
    if measure.needs_more_tokens_than_features:
        filled = rf"layer 0 \(embedding\): {measure.name} has no meaning there, because its \d+ tokens fill all \d directions"
        with pytest.raises(MeasureError, match=filled):
            value(measure, states, lengths)
        return
    expected = ORACLES[measure.name](states[:, 0], states[:, 1], lengths)
    assert value(measure, states, lengths) == pytest.approx(expected, rel=1e-10, abs=1e-10)


@by_name
def test_agrees_with_the_oracle_on_duplicate_tokens_and_constant_features(measure: Measure):
    states = walk(TOKENS, 2, WIDTH, seed=3)
    states[5:30] = states[4]
    states[:, :, 2] = 1.5
    expected = ORACLES[measure.name](states[:, 0], states[:, 1], LENGTHS)
    assert value(measure, states) == pytest.approx(expected, rel=1e-10, abs=1e-10)


@by_name
def test_float32_states_come_close(measure: Measure):
    states = walk(TOKENS, 2, WIDTH, seed=4)
    exact = value(measure, states.astype(np.float32).astype(np.float64))
    assert value(measure, states.astype(np.float32)) == pytest.approx(exact, rel=1e-5, abs=1e-5)


@by_pair
def test_equal_layers_have_the_self_value(measure: Measure):
    states = walk(TOKENS, 1, WIDTH).repeat(2, axis=1)
    # The angle of equal states is the root of the products' rounding.
    angle = measure.is_distance and r"\arccos" in measure.definition
    assert value(measure, states) == pytest.approx(measure.self_value, abs=1e-7 if angle else 1e-12)


@by_pair
def test_symmetric_if_it_says_so(measure: Measure):
    states = walk(TOKENS, 3, WIDTH)
    states[:, 2] = states[:, 2].cumsum(axis=1)  # features that are no longer one another's best match
    first, second = capture(states[:, :2], LENGTHS), capture(states[:, 1:] ** 3, LENGTHS)
    there = analyze(first, second, measures=[measure.name])[measure.name].to_numpy()
    back = analyze(second, first, measures=[measure.name])[measure.name].to_numpy()
    assert np.allclose(there, back.T, rtol=1e-10, atol=1e-10) == measure.symmetric
    alone = analyze(capture(states, LENGTHS), measures=[measure.name])[measure.name].to_numpy()
    assert np.allclose(alone, alone.T, rtol=1e-12) == measure.symmetric


@by_name
@settings(max_examples=15, deadline=None)
@given(arrays(np.float64, (12, 2, 3), elements=st.floats(-100, 100).map(lambda v: round(v, 3))))
def test_stays_in_its_range(measure: Measure, states: np.ndarray):
    states = states + np.linspace(0.1, 1, 12)[:, None, None] * np.array([1.0, -2.0, 0.5])
    try:
        found = value(measure, states, [5, 4, 3])
    except MeasureError as refusal:
        assert any(reason in str(refusal) for reason in REFUSED)  # noqa: PT017
        return
    assert measure.low - 1e-9 <= found <= measure.high + 1e-9


def test_extremes_of_the_ranges_are_reached():
    states = walk(TOKENS, 1, WIDTH)
    opposite = np.concatenate([states, -states], axis=1)
    for name, extreme in {
        "cosine": -1,
        "cosine_sequence": -1,
        "angular_distance": 1,
        "block_influence": 2,
        "cka": 1,
    }.items():
        assert value(MEASURES[name], opposite) == pytest.approx(extreme, abs=1e-7)
    apart = np.zeros((400, 2, 1))
    apart[:, 0, 0] = [1, -1] * 200
    apart[:, 1, 0] = [1, 1, -1, -1] * 100
    assert value(MEASURES["procrustes"], apart, [400]) == pytest.approx(2)
    assert value(MEASURES["cka_biased"], apart, [400]) == pytest.approx(0, abs=1e-15)
    assert value(MEASURES["cka"], apart, [400]) < 0


@by_name
def test_least_tokens(measure: Measure):
    least = measure.least_tokens
    # Measures that leave position 0 out are given sequences that have a second token.
    width = 1 if measure.needs_more_tokens_than_features else WIDTH
    states = walk(least + 1, 2, width, seed=5)
    few = states[:least]
    if measure.name != "cosine_sequence_without_first":
        lengths = [least // 2, least - least // 2] if measure.name == "linear_r2_cv" else [least]
        expected = ORACLES[measure.name](few[:, 0], few[:, 1], lengths)
        assert value(measure, few, lengths) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    if least > 1:
        with pytest.raises(MeasureError, match=f"{measure.name} needs at least {least} tokens, got {least - 1}"):
            value(measure, states[: least - 1], [least - 1])


@by_name
def test_constant_layers_are_refused_where_they_have_no_meaning(measure: Measure):
    states = walk(TOKENS, 2, WIDTH)
    states[:, 1] = [3, 0, 1, 0.1, -7, 1e5]
    if measure.needs_variation:
        with pytest.raises(MeasureError, match=r"layer 1 \(block.0\) is the same for every token: " + measure.name):
            value(measure, states)
    else:
        expected = ORACLES[measure.name](states[:, 0], states[:, 1], LENGTHS)
        assert value(measure, states) == pytest.approx(expected, rel=1e-9, abs=1e-9)
