"""What chance gives: pairings by role, every measure computed on them, and what that is in cases known beforehand."""

import numpy as np
import pytest
import torch

from layerscope.errors import UsageError
from layerscope.measures.analysis import analyze
from layerscope.measures.catalogue import MEASURES
from layerscope.measures.passes.chance import draw_pairing, roles_of
from layerscope.measures.passes.held import hold
from layerscope.measures.passes.reading import Reader
from layerscope.measures.record import Kind
from layerscope.store.source import open_source
from tests.measures.captures import capture, walk
from tests.measures.oracles import ORACLES
from tests.measures.passes.test_pairing import FIRST, ONE, ROWS, ROWS_OTHER, SECOND, TWO

LENGTHS = [9, 1, 14, 8, 16, 5, 7]
TOKENS = sum(LENGTHS)
PAIRWISE = [name for name, measure in MEASURES.items() if measure.kind is Kind.PAIRWISE]
SEQUENCE = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
POSITION = np.concatenate([np.arange(length) for length in LENGTHS])
ROLES = roles_of(SEQUENCE, POSITION)


@pytest.mark.parametrize("name", PAIRWISE)
def test_one_pairing_is_the_measure_on_rows_written_out_in_that_order(name: str):
    one, two = walk(TOKENS, 2, 5, seed=1), walk(TOKENS, 3, 5, seed=2)
    result = analyze(capture(one, LENGTHS), capture(two, LENGTHS), measures=[name], null=1, seed=7)
    order = draw_pairing(ROLES, np.random.default_rng([7, 4]))
    for layer, other in np.ndindex(2, 3):
        expected = ORACLES[name](one[:, layer], two[order][:, other], LENGTHS)
        assert result[f"{name}_null"][layer, other].item() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert result[f"{name}_null"].equals(result[f"{name}_null_high"])


def test_rows_paired_by_characters_are_paired_anew():
    """Rows and roles are those that two tokenizers share: the third and fourth are last in their texts."""
    result = analyze(FIRST, SECOND, measures=["cka_biased"], align="spans", null=1, seed=3)
    order = draw_pairing(np.array([0, 0, 2, 2]), np.random.default_rng([3, 4]))
    for layer, other in np.ndindex(3, 2):
        expected = ORACLES["cka_biased"](ONE[ROWS][:, layer], TWO[ROWS_OTHER][order][:, other], [3, 1])
        assert result["cka_biased_null"][layer, other].item() == pytest.approx(expected, rel=1e-9)
    assert result["cka_biased_null"].attrs["null_tokens"] == 4


def test_of_one_capture_each_pairing_counts_both_ways():
    states = walk(TOKENS, 3, 5)
    result = analyze(capture(states, LENGTHS), measures=["cka"], null=6)
    rng = np.random.default_rng([0, 4])
    draws = []
    for _ in range(6):
        order = draw_pairing(ROLES, rng)
        found = [[ORACLES["cka"](states[:, a], states[order][:, b], []) for b in range(3)] for a in range(3)]
        draws += [np.array(found), np.array(found).T]
    np.testing.assert_allclose(result["cka_null"], np.mean(draws, axis=0), rtol=1e-9, atol=1e-12)
    for bound, percent in (("low", 2.5), ("high", 97.5)):
        np.testing.assert_allclose(result[f"cka_null_{bound}"], np.percentile(draws, percent, axis=0), atol=1e-12)
    np.testing.assert_allclose(result["cka_null"], result["cka_null"].T)


def test_the_mean_cosine_by_chance_is_that_of_the_mean_directions():
    """Over all pairings of n tokens the expected cosine is u.v of their mean unit vectors, within each role."""
    states = walk(TOKENS, 2, 5, seed=3)
    result = analyze(capture(states, LENGTHS), measures=["cosine"], null=300)
    unit = states / np.linalg.norm(states, axis=2, keepdims=True)
    expected = sum(
        (role == ROLES).mean() * np.prod([unit[role == ROLES, n].mean(0) for n in (0, 1)], axis=0).sum()
        for role in range(4)
    )
    width = (result["cosine_null_high"] - result["cosine_null_low"])[0, 1].item()
    assert 0 < width < 0.3
    assert result["cosine_null"][0, 1].item() == pytest.approx(expected, abs=width / 4 / np.sqrt(300) * 4)
    assert expected > 0.2


def test_independent_states_are_alike_as_chance_says():
    def draw(seed: int) -> np.ndarray:
        return np.random.default_rng(seed).normal(size=(60, 2, 30))

    names = ["cka_biased", "cka", "procrustes"]
    lengths = [15] * 4
    fresh = [analyze(capture(draw(seed), lengths), measures=names) for seed in range(20)]
    result = analyze(capture(draw(99), lengths), measures=names, null=20)
    for name in names:
        values = [each[name][0, 1].item() for each in fresh]
        assert result[f"{name}_null"][0, 1].item() == pytest.approx(np.mean(values), abs=0.02)
    assert result["cka_biased_null"][0, 1].item() > 0.3
    assert abs(result["cka_null"][0, 1].item()) < 0.02
    low, value, high = (result[f"cka_biased{ending}"][0, 1].item() for ending in ("_null_low", "", "_null_high"))
    assert low < value < high


def test_first_tokens_stay_with_first_tokens():
    states = walk(TOKENS, 2, 5)
    sinks = states.copy()
    sinks[POSITION == 0, :, 1] = 1e4
    measures = ["cka", "cosine_sequence"]
    found, without = (analyze(capture(each, LENGTHS), measures=measures, null=4) for each in (sinks, states))
    assert found["cka_null"][0, 1].item() > 0.99
    assert found["cosine_sequence_null"][0, 1].item() > 0.99
    np.testing.assert_array_equal(
        found["cosine_sequence_without_first_null"], without["cosine_sequence_without_first_null"]
    )
    rest = analyze(capture(sinks, LENGTHS), measures=["cka"], null=4, exclude_first=1)
    assert abs(rest["cka_null"][0, 1].item()) < 0.1
    assert rest["cka_null"].attrs["excluded_first"] == 1


def test_the_attributes_say_how_chance_was_computed():
    attrs = analyze(capture(walk(TOKENS, 2, 5), LENGTHS), measures=["cosine_centered"], null=3)[
        "cosine_centered_null"
    ].attrs
    assert attrs["long_name"] == "cosine similarity of token states without the layers' means, by chance"
    assert (attrs["null_permutations"], attrs["null_tokens"], attrs["range"]) == (3, TOKENS, "[-1, 1]")
    assert "random pairings of the tokens" in attrs["estimator"]


def test_the_same_seed_draws_the_same():
    states = capture(walk(TOKENS, 2, 5), LENGTHS)
    one, same, other = (analyze(states, measures=["cosine"], null=2, seed=seed)["cosine_null"] for seed in (1, 1, 2))
    assert one.equals(same)
    assert not one.equals(other)


def test_where_memory_is_short_whole_sequences_are_held():
    lengths = [30, 1, 70, 40, 60, 50, 90, 20]
    source = open_source(capture(walk(sum(lengths), 2, 5), lengths))
    reader = Reader(source, None, 1)
    (held,) = hold(reader, reader.study(memory=1))
    assert len(held.taken) == 256
    present, counts = np.unique(held.sequence_index, return_counts=True)
    assert 3 < len(present) < 8
    assert sum(counts < np.array(lengths)[present] - 1) <= 1
    for number in present:
        tokens = held.position[held.sequence_index == number]
        np.testing.assert_array_equal(tokens, np.arange(1, 1 + len(tokens)))
    place = [
        np.flatnonzero((source.sequence_index == s) & (source.position == p)).item()
        for s, p in zip(held.sequence_index, held.position, strict=True)
    ]
    assert torch.equal(held.read(0, 256), source.read(0, sum(lengths))[place])
    (again,), (another,) = hold(reader, reader.study(memory=1)), hold(reader, reader.study(memory=1, seed=1))
    np.testing.assert_array_equal(again.sequence_index, held.sequence_index)
    assert not np.array_equal(np.unique(another.sequence_index), present)


def test_a_sample_is_named():
    states = capture(walk(400, 2, 5), [40] * 10)
    result = analyze(states, measures=["cosine"], null=2, memory=1)
    assert result["cosine"].attrs["tokens"] == 400
    assert result["cosine_null"].attrs["null_tokens"] == 256


def test_nothing_is_paired_where_it_is_not_asked_for():
    result = analyze(capture(walk(TOKENS, 2, 5), LENGTHS), measures=["cka", "norm"])
    assert not [name for name in result if "null" in str(name) or "ceiling" in str(name)]
    assert "split_half" not in result["cka"].attrs
    assert "norm_null" not in analyze(capture(walk(TOKENS, 2, 5), LENGTHS), measures=["norm"], null=2)


def test_a_negative_number_is_refused():
    with pytest.raises(UsageError, match="null -1: must be 0 or more"):
        analyze(capture(walk(TOKENS, 2, 5), LENGTHS), null=-1)
