"""The table of measured coverage: complete, what the docs show, and what an analysis takes from it."""

import re
from pathlib import Path

import numpy as np
import pytest

from layerscope.cli.result_warnings import warning_lines
from layerscope.measures.analysis import analyze
from layerscope.measures.catalogue import DEFAULT_MEASURES, MEASURES
from layerscope.measures.coverage import LEAST, Coverage, coverage_attributes, coverage_of, coverage_table
from tests.measures.captures import capture

PAGE = Path(__file__).parents[2] / "docs" / "design" / "uncertainty.md"


def test_the_table_knows_measures_and_holds_shares():
    assert {name for name, _ in coverage_table()} <= set(MEASURES)
    assert all(0 <= share <= 1 for shares in coverage_table().values() for share in shares[:2])
    assert all(
        (name, texts) in coverage_table() for name in DEFAULT_MEASURES if name != "max_abs" for texts in (20, 60)
    )


def test_the_docs_show_the_table():
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| ([\d.]+) \| ([\d.]+) \|$", PAGE.read_text(), re.MULTILINE)
    shown = {(name, int(texts)): (float(population), float(own)) for name, texts, population, own in rows}
    assert shown == {key: tuple(round(share, 2) for share in shares[:2]) for key, shares in coverage_table().items()}


@pytest.mark.parametrize(("texts", "tabled"), [(4, 20), (20, 20), (59, 20), (60, 60), (5000, 60)])
def test_the_nearest_smaller_number_of_texts_is_taken(texts: int, tabled: int):
    assert coverage_of("cosine", texts) == coverage_table()["cosine", tabled]
    assert coverage_table()["cosine", tabled].texts == tabled


@pytest.mark.parametrize(
    ("expectation", "more"),
    [(0.89, ""), (0.9, " (its value depends on the number of tokens: compare only analyses of equally many)")],
)
def test_coverage_below_nine_tenths_is_said(monkeypatch: pytest.MonkeyPatch, expectation: float, more: str):
    table = {("two_nn", 20): Coverage(0.85, expectation, 20)}
    monkeypatch.setattr("layerscope.measures.coverage.coverage_table", lambda: table)
    assert coverage_attributes("two_nn", 33) == {
        "coverage": 0.85,
        "coverage_texts": 20,
        "coverage_warning": f"the 95 % interval held the population value in 85% of simulations with 20 texts{more}",
    }
    table["two_nn", 20] = Coverage(LEAST, expectation, 20)
    assert coverage_attributes("two_nn", 33) == {"coverage": LEAST, "coverage_texts": 20}
    assert coverage_attributes("max_abs", 33) == {}


def test_intervals_of_few_replicates_carry_a_warning():
    rng = np.random.default_rng(0)
    for replicates, warned in ((1, True), (5, True), (38, True), (39, False), (60, False)):
        result = analyze(
            capture(rng.normal(size=(24, 2, 4)), [3] * 8), measures=["cosine", "cka", "norm"], bootstrap=replicates
        )
        for name in ("cosine", "cka", "norm"):
            assert ("bootstrap_warning" in result[name].attrs) == warned
            assert f"{name}_low" in result
    assert warning_lines(result) == []
