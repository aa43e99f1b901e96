"""Statistics without a file are those of the file, whatever order the rows came in."""

import numpy as np
import pytest
import torch
import xarray

from layerscope.errors import MeasureError, UsageError
from layerscope.measures.analysis import analyze
from layerscope.measures.catalogue import DEFAULT_MEASURES, MEASURES
from layerscope.measures.streaming import Statistics
from layerscope.states import Sink, StateRows
from tests.measures.captures import capture, state_rows, walk
from tests.measures.estimators.test_estimator import few_rows
from tests.measures.oracles import ORACLES, cka

LENGTHS = [9, 6, 14, 8, 21]
TOKENS = sum(LENGTHS)


def feed(statistics: Statistics, states: np.ndarray, lengths: list[int], *, longest_first: bool = True) -> Statistics:
    """Give sequences in batches of two, the longest first, as a capture does."""
    sink: Sink = statistics
    starts = np.cumsum([0, *lengths])
    order = np.argsort(lengths)[::-1] if longest_first else np.arange(len(lengths))
    for pair in np.array_split(order, (len(lengths) + 1) // 2):
        sink.update(state_rows(states, np.concatenate([np.arange(starts[s], starts[s + 1]) for s in pair]), lengths))
    return statistics


@pytest.mark.parametrize("options", [{}, {"exclude_first": 2, "seed": 4}, {"bootstrap": 12}], ids=str)
def test_equals_analyze(options: dict[str, int]):
    states = walk(TOKENS, 3, 5)
    states[15, 1, 2] = 5e3
    found = feed(Statistics(MEASURES, **options), states, LENGTHS).result({"model": "tiny"})
    expected = analyze(capture(states, LENGTHS, attrs={"model": "tiny"}), measures=MEASURES, **options)
    xarray.testing.assert_allclose(found, expected, rtol=1e-9)
    assert {name: found[name].attrs for name in found} == {name: expected[name].attrs for name in expected}
    for name, value in expected.attrs.items():
        if name != "provenance":
            assert found.attrs[name] == pytest.approx(value), name


def test_parts_merge():
    states = walk(TOKENS, 3, 5)
    whole, one, two = (Statistics(DEFAULT_MEASURES) for _ in range(3))
    one.update(state_rows(states, np.arange(10, 30), LENGTHS))
    two.update(state_rows(states, np.arange(30, TOKENS), LENGTHS))
    two.update(state_rows(states, np.arange(10), LENGTHS))
    for part in (one, two, Statistics(DEFAULT_MEASURES)):
        whole.merge(part)
    xarray.testing.assert_allclose(whole.result(), analyze(capture(states, LENGTHS)), rtol=1e-9)


def test_over_the_threshold_a_seeded_sample_that_no_order_changes(monkeypatch: pytest.MonkeyPatch):
    few_rows(monkeypatch, exact=40)
    states = walk(TOKENS, 3, 5)
    names = ["cka", "cosine_centered", "cka_biased", "norm", "variance"]
    by_length = feed(Statistics(names, memory="2KB"), states, LENGTHS).result()
    in_order = feed(Statistics(names, memory="2KB"), states, LENGTHS, longest_first=False).result()
    xarray.testing.assert_allclose(by_length, in_order, rtol=1e-10)
    for name in ("cka", "cosine_centered", "cka_biased"):
        assert by_length[name].attrs["sample"] == 40
        assert by_length[name].attrs["tokens"] == 40
        assert "of a seeded sample" in by_length[name].attrs["estimator"]
        exact = ORACLES[name](states[:, 0], states[:, 1], LENGTHS)
        assert by_length[name][0, 1].item() == pytest.approx(exact, abs=0.15)
        assert by_length[name][0, 1].item() != pytest.approx(exact, abs=1e-6)
    for name in ("norm", "variance"):
        assert by_length[name][1].item() == pytest.approx(ORACLES[name](states[:, 0], states[:, 1], LENGTHS))
    other = feed(Statistics(names, memory="2KB", seed=1), states, LENGTHS).result()
    assert abs(other["cka"] - by_length["cka"]).max() > 1e-6


def test_half_precision_states_are_widened():
    states = torch.from_numpy(walk(TOKENS, 2, 5)).to(torch.bfloat16)
    statistics = Statistics(["cka"])
    every = state_rows(states.float().numpy(), np.arange(TOKENS), LENGTHS)
    statistics.update(StateRows(states, every.row, every.sequence_index, every.position, every.token_id))
    expected = cka(*(states[:, layer].double().numpy() for layer in (0, 1)), [])
    assert statistics.result()["cka"][0, 1].item() == pytest.approx(expected, abs=1e-5)


def test_layers_are_named():
    statistics = Statistics(["norm"], layer=[0, 5])
    result = feed(statistics, walk(TOKENS, 2, 5), LENGTHS).result()
    assert result["layer"].values.tolist() == [0, 5]
    assert result["layer_name"].values.tolist() == ["embedding", "block.4"]


def test_refusals():
    with pytest.raises(UsageError, match="unknown measure 'nrom'"):
        Statistics(["nrom"])
    with pytest.raises(UsageError, match="seed -3: must be 0 or more"):
        Statistics(seed=-3)
    with pytest.raises(MeasureError, match="no token was captured"):
        Statistics().result()
    few = Statistics(["cka"])
    few.update(state_rows(walk(TOKENS, 2, 5), np.arange(3), LENGTHS))
    with pytest.raises(MeasureError, match="cka needs at least 4 tokens, got 3"):
        few.result()
