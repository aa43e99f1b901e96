"""What chance gives: whole texts paired, every measure computed on them, and what that is in cases known beforehand."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch

from layerscope.errors import MeasureError, UsageError
from layerscope.measures.analysis import analyze
from layerscope.measures.catalogue import MEASURES
from layerscope.measures.options import AnalysisOptions
from layerscope.measures.passes.in_memory import load
from layerscope.measures.passes.permutation_null import LEAST_PER_STRATUM, Texts, draw_pairing, null_interval
from layerscope.measures.passes.rows import AnalysisRows
from layerscope.measures.record import Kind
from layerscope.store.opening import open_source
from tests.measures.captures import capture, walk
from tests.measures.oracles import ORACLES
from tests.measures.passes.test_pairing import FIRST, ONE, ROWS, ROWS_OTHER, SECOND, TWO

LENGTHS = [9, 1, 14, 8, 16, 5, 7]
TOKENS = sum(LENGTHS)
PAIRWISE = [name for name, measure in MEASURES.items() if measure.kind is Kind.PAIRWISE]


def texts_of(lengths: list[int], first: int = 0) -> Texts:
    position = np.concatenate([np.arange(length) for length in lengths]) + first
    return Texts.of(np.repeat(np.arange(len(lengths)), lengths), position)


def pairing(seed: int) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Draw the first pairing of LENGTHS; return its rows, their partners, and how many are left of each text."""
    rows, partners = draw_pairing(texts_of(LENGTHS), np.random.default_rng([seed, 4]))
    text = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    return rows, partners, np.bincount(text[rows], minlength=len(LENGTHS)).tolist()


@pytest.mark.parametrize("lengths", [[10] * 30, [3, 12, 1, 5, 9, 7, 2, 30, 1], list(range(1, 62))])
def test_each_text_is_paired_with_another_token_by_token(lengths: list[int]):
    texts = texts_of(lengths)
    text, position = np.repeat(np.arange(len(lengths)), lengths), np.concatenate([np.arange(n) for n in lengths])
    rows, partners = draw_pairing(texts, np.random.default_rng(0))
    for number, length in enumerate(lengths):
        mine = text[rows] == number
        (other,) = np.unique(text[partners[mine]])
        common = min(length, lengths[other])
        assert other != number
        assert mine.sum() == common
        for side, whole in ((rows, length), (partners, lengths[other])):
            expected = [*range(common - 1), whole - 1] if common > 1 else [0]
            assert position[side[mine]].tolist() == expected
    assert len(np.unique(rows)) == len(np.unique(partners)) == len(rows)


def test_texts_are_paired_with_texts_of_similar_length():
    lengths = np.random.default_rng(0).permutation(np.repeat(np.arange(1, 101), 2))
    rng = np.random.default_rng(1)
    strata = texts_of(lengths.tolist()).strata(rng)
    assert min(len(members) for members in strata) >= LEAST_PER_STRATUM
    spans = sorted((lengths[members].min(), lengths[members].max()) for members in strata)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    equal = texts_of([5] * 200).strata(rng), texts_of([5] * 200).strata(rng)
    assert any(not np.array_equal(np.sort(a), np.sort(b)) for a, b in zip(*equal, strict=True))


def test_a_text_without_its_first_token_is_not_paired_with_one_that_has_it():
    sequence, position = np.repeat(np.arange(12), 4), np.tile(np.arange(4), 12)
    kept = (position > 0) | (sequence % 2 == 0)
    rows, partners = draw_pairing(Texts.of(sequence[kept], position[kept]), np.random.default_rng(0))
    assert (sequence[kept][rows] % 2 == sequence[kept][partners] % 2).all()
    assert ((position[kept][rows] == 0) == (position[kept][partners] == 0)).all()
    assert ((position[kept][rows] == 3) == (position[kept][partners] == 3)).all()


def test_all_partners_are_alike_likely():
    texts, rng = texts_of([1] * 5), np.random.default_rng(0)
    counts = np.zeros((5, 5))
    for _ in range(2000):
        rows, partners = draw_pairing(texts, rng)
        counts[rows, partners] += 1
    assert (np.diag(counts) == 0).all()
    np.testing.assert_allclose(counts[~np.eye(5, dtype=bool)], 500, atol=80)


@pytest.mark.parametrize("name", PAIRWISE)
def test_one_pairing_is_the_measure_on_rows_written_out_in_that_order(name: str):
    one, two = walk(TOKENS, 2, 5, seed=1), walk(TOKENS, 3, 5, seed=2)
    result = analyze(capture(one, LENGTHS), capture(two, LENGTHS), measures=[name], null=1, seed=7)
    rows, partners, lengths = pairing(7)
    for layer, other in np.ndindex(2, 3):
        expected = ORACLES[name](one[rows][:, layer], two[partners][:, other], lengths)
        assert result[f"{name}_null"][layer, other].item() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert np.isnan(result[f"{name}_null_high"]).all()
    assert "one pairing gives no interval" in result[f"{name}_null"].attrs["null_warning"]


def test_the_order_of_rows_does_not_matter():
    states = walk(TOKENS, 2, 5)
    data = capture(states, LENGTHS)
    shuffled = data.isel(token=np.random.default_rng(0).permutation(TOKENS))
    one, two = (analyze(each, measures=["cka", "cosine"], null=3) for each in (data, shuffled))
    for name in ("cka_null", "cosine_null", "cka_null_high"):
        np.testing.assert_allclose(one[name], two[name], rtol=1e-9)


def test_rows_paired_by_characters_are_paired_anew():
    """Texts are those that two tokenizers share, of three tokens and of one: a token of each is left."""
    result = analyze(FIRST, SECOND, measures=["procrustes"], align="spans", null=1, seed=3)
    for layer, other in np.ndindex(3, 2):
        one, two = ONE[ROWS][[0, 3]][:, layer], TWO[ROWS_OTHER][[3, 0]][:, other]
        expected = ORACLES["procrustes"](one, two, [1, 1])
        assert result["procrustes_null"][layer, other].item() == pytest.approx(expected, abs=1e-9)
    assert result["procrustes_null"].attrs["null_tokens"] == 2
    assert result["procrustes_null"].attrs["null_texts"] == 2


def test_of_one_capture_each_pairing_counts_both_ways():
    lengths = [6] * 10
    states = walk(60, 3, 5)
    result = analyze(capture(states, lengths), measures=["cka"], null=40)
    rng, texts = np.random.default_rng([0, 4]), texts_of(lengths)
    draws = []
    for _ in range(40):
        rows, partners = draw_pairing(texts, rng)
        found = [[ORACLES["cka"](states[rows][:, a], states[partners][:, b], []) for b in range(3)] for a in range(3)]
        draws += [np.array(found), np.array(found).T]
    mean = np.mean(draws, axis=0)
    np.testing.assert_allclose(result["cka_null"], mean, rtol=1e-9, atol=1e-12)
    ordered = np.sort(draws, axis=0)  # of 80 draws the ends have rank 2.025 from either side
    ends = (0.975 * ordered[1] + 0.025 * ordered[2], 0.975 * ordered[-2] + 0.025 * ordered[-3])
    for bound, end in zip(("low", "high"), ends, strict=True):
        np.testing.assert_allclose(result[f"cka_null_{bound}"], mean + (end - mean) * 10 / 9, atol=1e-12)
    np.testing.assert_allclose(result["cka_null"], result["cka_null"].T)


@pytest.mark.parametrize("pairings", [5, 20, 38, 39, 200])
def test_an_interval_of_few_draws_holds_one_more_draw_as_often_as_one_of_many(pairings: int):
    draws = np.random.default_rng(0).normal(size=(pairings + 1, 20000))
    low, high = null_interval(draws[1:], pairings, 1.0)
    assert ((draws[0] < low) | (draws[0] > high)).mean() == pytest.approx(0.05, abs=0.006)


def level(
    draw: Callable[[np.random.Generator], np.ndarray], measure: Callable[[np.ndarray, np.ndarray], float]
) -> float:
    """Count how often two unrelated layers of 16 texts of 6 tokens lie outside the interval of 39 pairings."""
    rng, outside = np.random.default_rng(0), 0
    pairs = [draw_pairing(texts_of([6] * 16), rng) for _ in range(39)]
    for _ in range(100):
        X, Y = draw(rng), draw(rng)
        draws = np.array([measure(X[rows], Y[partners]) for rows, partners in pairs])
        low, high = null_interval(draws[:, None], 39, 16 / 15)
        outside += not low[0] <= measure(X, Y) <= high[0]
    return outside / 100


def independent(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(96, 6)) + 0.5


def of_topics(rng: np.random.Generator) -> np.ndarray:
    return independent(rng) + 1.5 * np.repeat(rng.normal(size=(16, 6)), 6, axis=0)


def mean_cosine(X: np.ndarray, Y: np.ndarray) -> float:
    return float(((X * Y).sum(1) / np.linalg.norm(X, axis=1) / np.linalg.norm(Y, axis=1)).mean())


@pytest.mark.parametrize("draw", [independent, of_topics])
@pytest.mark.parametrize("measure", [mean_cosine, lambda X, Y: ORACLES["cka"](X, Y, [])], ids=["cosine", "cka"])
def test_unrelated_layers_are_seldom_outside_the_interval_by_chance(draw, measure):
    assert level(draw, measure) <= 0.11  # 5 % are meant; pairing single tokens gives 100 % for cka of topics


def test_related_layers_are_outside_the_interval_by_chance():
    states = walk(200, 2, 5)
    result = analyze(capture(states, [10] * 20), measures=["cka", "cosine"], null=39)
    assert result["cka"][0, 1].item() > result["cka_null_high"][0, 1].item() + 0.1
    assert result["cosine"][0, 1].item() > result["cosine_null_high"][0, 1].item()


def test_the_mean_cosine_by_chance_is_that_of_tokens_of_different_texts():
    """Over all pairings the expected cosine is the mean over pairs of different texts, position by position."""
    states = walk(60, 2, 5, seed=3)
    result = analyze(capture(states, [6] * 10), measures=["cosine"], null=300)
    unit = (states / np.linalg.norm(states, axis=2, keepdims=True)).reshape(10, 6, 2, 5)
    each = np.einsum("ipf,kpf->ik", unit[:, :, 0], unit[:, :, 1]) / 6
    expected = each[~np.eye(10, dtype=bool)].mean()
    width = (result["cosine_null_high"] - result["cosine_null_low"])[0, 1].item()
    assert 0 < width < 0.3
    assert result["cosine_null"][0, 1].item() == pytest.approx(expected, abs=width / np.sqrt(300))
    assert expected > 0.2


def test_independent_states_are_alike_as_chance_says():
    def draw(seed: int) -> np.ndarray:
        return np.random.default_rng(seed).normal(size=(60, 2, 30))

    names = ["cka_biased", "cka", "procrustes"]
    lengths = [5] * 12
    empty_like = [analyze(capture(draw(seed), lengths), measures=names) for seed in range(20)]
    result = analyze(capture(draw(99), lengths), measures=names, null=20)
    for name in names:
        values = [each[name][0, 1].item() for each in empty_like]
        assert result[f"{name}_null"][0, 1].item() == pytest.approx(np.mean(values), abs=0.02)
    assert result["cka_biased_null"][0, 1].item() > 0.3
    assert abs(result["cka_null"][0, 1].item()) < 0.02
    low, value, high = (result[f"cka_biased{ending}"][0, 1].item() for ending in ("_null_low", "", "_null_high"))
    assert low < value < high


def test_first_tokens_stay_with_first_tokens():
    states = walk(80, 2, 5)
    sinks = states.copy()
    sinks[::8, :, 1] = 1e4
    measures = ["cka", "cosine_sequence"]
    lengths = [8] * 10
    found, without = (analyze(capture(each, lengths), measures=measures, null=4) for each in (sinks, states))
    assert found["cka_null"][0, 1].item() > 0.99
    assert found["cosine_sequence_null"][0, 1].item() > 0.99
    np.testing.assert_array_equal(
        found["cosine_sequence_without_first_null"], without["cosine_sequence_without_first_null"]
    )
    rest = analyze(capture(sinks, lengths), measures=["cka"], null=4, exclude_first=1)
    assert abs(rest["cka_null"][0, 1].item()) < 0.1
    assert rest["cka_null"].attrs["excluded_first"] == 1


def test_the_attributes_say_how_chance_was_computed():
    attrs = analyze(capture(walk(60, 2, 5), [6] * 10), measures=["cosine_centered"], null=3)[
        "cosine_centered_null"
    ].attrs
    assert attrs["long_name"] == "cosine similarity of token states without the layers' means, by chance"
    assert (attrs["null_permutations"], attrs["null_texts"], attrs["null_tokens"]) == (3, 10, 60)
    assert attrs["range"] == "[-1, 1]"
    assert "each text with another of similar length" in attrs["estimator"]
    assert "null_warning" not in attrs


def test_few_texts_are_said():
    attrs = analyze(capture(walk(TOKENS, 2, 5), LENGTHS), measures=["cosine"], null=3)["cosine_null"].attrs
    assert attrs["null_warning"] == (
        "7 texts can be paired in few ways: the 95 % interval by chance is too narrow below 8 texts"
    )
    assert attrs["null_tokens"] < TOKENS


@pytest.mark.parametrize(
    ("lengths", "measure", "text"),
    [
        ([60], "cosine", "--null pairs each text with another, and there is only one of its kind: capture more texts"),
        ([58, 1], "cka", r"in a pairing of the texts by chance \(--null\): .*needs at least"),
    ],
)
def test_texts_that_cannot_be_paired_are_refused(lengths: list[int], measure: str, text: str):
    with pytest.raises(MeasureError, match=text):
        analyze(capture(walk(sum(lengths), 2, 5), lengths), measures=[measure], null=2)


def test_the_same_seed_draws_the_same():
    states = capture(walk(TOKENS, 2, 5), LENGTHS)
    one, same, other = (analyze(states, measures=["cosine"], null=2, seed=seed)["cosine_null"] for seed in (1, 1, 2))
    assert one.equals(same)
    assert not one.equals(other)


def test_where_memory_is_short_whole_sequences_are_held():
    lengths = [30, 1, 70, 40, 60, 50, 90, 20]
    source = open_source(capture(walk(sum(lengths), 2, 5), lengths))
    reader = AnalysisRows(source, None, 1)
    (held,) = load(reader, reader.context(AnalysisOptions(memory=1)))
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
    (again,) = load(reader, reader.context(AnalysisOptions(memory=1)))
    (another,) = load(reader, reader.context(AnalysisOptions(memory=1, seed=1)))
    np.testing.assert_array_equal(again.sequence_index, held.sequence_index)
    assert not np.array_equal(np.unique(another.sequence_index), present)


def test_of_long_sequences_the_starts_are_held():
    """One sequence alone would have no partner."""
    source = open_source(capture(walk(3000, 2, 5), [300] * 10))
    reader = AnalysisRows(source, None, 0)
    (held,) = load(reader, reader.context(AnalysisOptions(memory=1)))
    np.testing.assert_array_equal(held.sequence_index, np.repeat(np.arange(10), 25))
    np.testing.assert_array_equal(held.position, np.tile(np.arange(25), 10))
    result = analyze(capture(walk(3000, 2, 5), [300] * 10), measures=["cosine"], null=2, memory=1)
    assert (result["cosine_null"].attrs["null_texts"], result["cosine_null"].attrs["null_tokens"]) == (10, 250)


def test_a_sample_is_named():
    states = capture(walk(400, 2, 5), [40] * 10)
    result = analyze(states, measures=["cosine"], null=2, memory=1)
    assert result["cosine"].attrs["tokens"] == 400
    assert result["cosine_null"].attrs["null_tokens"] < 257
    assert result["cosine_null"].attrs["null_texts"] == 7


def test_nothing_is_paired_where_it_is_not_asked_for():
    result = analyze(capture(walk(TOKENS, 2, 5), LENGTHS), measures=["cka", "norm"])
    assert not [name for name in result if "null" in str(name) or "ceiling" in str(name)]
    assert "split_half" not in result["cka"].attrs
    assert "norm_null" not in analyze(capture(walk(TOKENS, 2, 5), LENGTHS), measures=["norm"], null=2)


def test_a_negative_number_is_refused():
    with pytest.raises(UsageError, match="null -1: must be 0 or more"):
        analyze(capture(walk(TOKENS, 2, 5), LENGTHS), null=-1)
