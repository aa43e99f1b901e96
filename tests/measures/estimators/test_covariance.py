"""Clouds of tokens: the road taken (rows, sums, layer by layer, sample) depends on the memory; the result does not."""

import numpy as np
import pytest

from layerscope.measures.analysis import analyze
from tests.measures.captures import capture, walk
from tests.measures.estimators.test_estimator import few_rows
from tests.measures.oracles import ORACLES

LENGTHS = [9, 6, 14, 8, 21]
TOKENS = sum(LENGTHS)
NAMES = ["cka_biased", "procrustes", "participation_ratio", "effective_rank"]


def agrees(result, states: np.ndarray, names: list[str], **tolerance: float) -> None:
    for name in names:
        found = result[name][0, 1] if result[name].ndim == 2 else result[name][1]
        expected = ORACLES[name](states[:, 0], states[:, 1], [])
        assert found.item() == pytest.approx(expected, **tolerance), name


def test_rows_and_sums_agree(monkeypatch: pytest.MonkeyPatch):
    states = walk(TOKENS, 3, 5)
    agrees(analyze(capture(states, LENGTHS), measures=NAMES), states, NAMES, rel=1e-10)
    few_rows(monkeypatch)
    result = analyze(capture(states, LENGTHS), measures=NAMES)
    agrees(result, states, NAMES, rel=1e-10)
    assert result["procrustes"].attrs["estimator"] == "centred states of all tokens"
    assert result["effective_rank"].attrs["tokens"] == TOKENS


def test_sums_of_two_captures(monkeypatch: pytest.MonkeyPatch):
    few_rows(monkeypatch)
    one, two = walk(TOKENS, 3, 5, seed=1), walk(TOKENS, 2, 7, seed=2)
    result = analyze(capture(one, LENGTHS), capture(two, LENGTHS), measures=NAMES)
    for layer, other in np.ndindex(3, 2):
        for name in ("cka_biased", "procrustes"):
            expected = ORACLES[name](one[:, layer], two[:, other], [])
            assert result[name][layer, other].item() == pytest.approx(expected, rel=1e-10)
    assert result["effective_rank_other"][1].item() == pytest.approx(ORACLES["effective_rank"](one, two[:, 1], []))


def test_beyond_the_memory_pairs_come_from_a_seeded_sample(monkeypatch: pytest.MonkeyPatch):
    few_rows(monkeypatch, exact=45)
    states = walk(TOKENS, 3, 5)
    result = analyze(capture(states, LENGTHS), measures=NAMES, memory="3KB")
    for name in ("cka_biased", "procrustes"):
        assert result[name].attrs["sample"] == 45
        assert result[name].attrs["tokens"] == 45
        assert result[name].attrs["estimator"] == "centred states of a seeded sample of tokens"
    agrees(result, states, ["cka_biased", "procrustes"], rel=0.2)
    # Spectra need no sample: their layers are taken in turns, a pass each.
    agrees(result, states, ["participation_ratio", "effective_rank"], rel=1e-10)
    assert "sample" not in result["effective_rank"].attrs


def test_intervals_beyond_the_rows_held_are_about_the_value_of_all(monkeypatch: pytest.MonkeyPatch):
    few_rows(monkeypatch, exact=45)
    states = walk(TOKENS, 3, 5)
    result = analyze(capture(states, LENGTHS), measures=NAMES, bootstrap=30)
    agrees(result, states, NAMES, rel=1e-10)
    for name in NAMES:
        inside = (result[f"{name}_low"] <= result[name]) & (result[name] <= result[f"{name}_high"])
        assert inside.all()
        assert result[f"{name}_low"].attrs["interval_sample"] == 45


def test_large_means_cost_no_digits(monkeypatch: pytest.MonkeyPatch):
    few_rows(monkeypatch)
    states = walk(TOKENS, 3, 5).astype(np.float32) + np.float32(4096)
    exact = states.astype(np.float64)
    for force in (True, False):
        result = analyze(capture(states, LENGTHS), measures=[*NAMES, "variance", "cosine_centered", "cka"])
        agrees(result, exact, [*NAMES, "variance", "cosine_centered"], rel=1e-5)
        if force:
            monkeypatch.undo()
