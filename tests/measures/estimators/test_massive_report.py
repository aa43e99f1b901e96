"""The massive-activation report: planted sinks are found, and the sequence cosine without them is what it says."""

import numpy as np
import pytest

from layerscope.errors import MeasureError
from layerscope.measures.accumulators import massive_tokens
from layerscope.measures.accumulators.massive_tokens import median_magnitude
from layerscope.measures.analysis import analyze
from tests.measures.captures import capture, walk
from tests.measures.oracles import cosine_sequence

LENGTHS = [9, 6, 14, 8, 16, 5, 7]
TOKENS = sum(LENGTHS)
STARTS = np.cumsum([0, *LENGTHS[:-1]])
TABLE = ["massive_layer", "massive_feature", "massive_token_id", "massive_position", "massive_value", "massive_ratio"]


def planted() -> np.ndarray:
    """Put a sink on every first token at layers 2 and 3, a larger one elsewhere, and a large but not massive value."""
    states = walk(TOKENS, 5, 8)
    states[STARTS, 2:4, 3] = -3000.0
    states[STARTS[2] + 4, 3, 5] = 9000.0
    states[20, 1, 1] = 99.0
    return states


@pytest.fixture
def result():
    return analyze(capture(planted(), LENGTHS), measures=["cosine_sequence"])


def test_table_ranks_the_largest_value_of_each_layer_and_feature(result):
    states = planted()
    median = np.median(np.abs(states), axis=(0, 2))
    assert [result[name].dims for name in TABLE] == [("rank",)] * 6
    first = {name: result[name][0].item() for name in TABLE}
    assert first == {
        "massive_layer": 3,
        "massive_feature": 5,
        "massive_token_id": (STARTS[2] + 4) % 97,
        "massive_position": 4,
        "massive_value": 9000.0,
        "massive_ratio": pytest.approx(9000 / median[3]),
    }
    places = list(zip(result["massive_layer"].values.tolist(), result["massive_feature"].values.tolist(), strict=True))
    assert places[1:3] == [(2, 3), (3, 3)]
    assert result["massive_value"][1].item() == -3000
    assert result["massive_position"][1].item() == 0  # of equal values the one of the first row
    assert result["massive_token_id"][1].item() == 0
    assert len(set(places)) == len(places) == 16
    ratio = np.abs(states).max(0) / median[:, None]
    np.testing.assert_allclose(result["massive_ratio"], np.sort(ratio.ravel())[::-1][:16])


def test_facts_say_how_many_where_and_what_changes(result):
    states = planted()
    assert result.attrs["massive_tokens"] == len(LENGTHS) + 1
    assert result.attrs["massive_positions"] == "0, 4"
    rest = np.full(TOKENS, True)
    rest[[*STARTS, STARTS[2] + 4]] = False
    lengths = [length - 1 - (index == 2) for index, length in enumerate(LENGTHS)]
    change = np.zeros((5, 5))
    for layer in range(5):
        for other in range(5):
            without = cosine_sequence(states[rest, layer], states[rest, other], lengths)
            change[layer, other] = abs(without - cosine_sequence(states[:, layer], states[:, other], LENGTHS))
    assert result.attrs["massive_cosine_sequence_change"] == pytest.approx(change.max(), rel=1e-9)
    assert result.attrs["massive_cosine_sequence_change_mean"] == pytest.approx(change.sum() / 20, rel=1e-9)
    warning = result.attrs["massive_warning"]
    assert warning.startswith("8 tokens (positions 0, 4) carry massive activations, up to ")
    assert "times the median of their layer (layer 3 (block.2), feature 5)" in warning
    assert f"cosine_sequence changes by up to {change.max():.2f}" in warning


def test_a_value_must_be_large_both_absolutely_and_by_ratio():
    small = walk(TOKENS, 2, 8) * 1e-3
    small[3, 1, 2] = 99.0  # 99,000 times the median, but below 100
    large = walk(TOKENS, 2, 8) * 1e3
    large[3, 1, 2] = 5e5  # far above 100, but not 1,000 times the median
    for states in (small, large):
        result = analyze(capture(states, LENGTHS), measures=["norm"])
        assert result.attrs["massive_tokens"] == 0
        assert result.attrs["massive_warning"] == ""
        assert result.attrs["massive_cosine_sequence_change"] == 0
        assert result["massive_ratio"].sizes["rank"] == 16


def test_excluded_tokens_are_not_reported():
    result = analyze(capture(planted(), LENGTHS), measures=["norm"], exclude_first=1)
    assert result.attrs["massive_positions"] == "4"
    assert result["massive_position"].min() >= 1


def test_sequences_of_massive_tokens_alone_are_left_out_or_said():
    states = walk(6, 2, 8)
    states[:, :, 0] = 1e5
    states[3:, :, 0] = 1.0
    some = analyze(capture(states, [3, 3]), measures=["norm"])
    assert np.isfinite(some.attrs["massive_cosine_sequence_change"])
    states[3:, 1, 1] = 1e5
    none = analyze(capture(states, [3, 3]), measures=["norm"])
    assert np.isnan(none.attrs["massive_cosine_sequence_change"])
    assert none.attrs["massive_warning"].endswith("There is no sequence cosine without them.")


def test_many_large_values_do_not_pile_up_nor_hide_massive_ones(monkeypatch: pytest.MonkeyPatch):
    """Some models have values over 100 everywhere: candidates are dropped along the way, the massive ones are not."""
    monkeypatch.setattr(massive_tokens, "MOST_CANDIDATES", 40)
    tokens = 2000
    states = walk(tokens, 2, 8) * 200
    states[::100, 1, 3] = 1e6
    result = analyze(capture(states, [100] * 20), measures=["cosine_sequence"])
    assert result.attrs["massive_tokens"] == 20
    rest = np.arange(tokens) % 100 > 0
    without = cosine_sequence(states[rest, 0], states[rest, 1], [99] * 20)
    change = abs(without - cosine_sequence(states[:, 0], states[:, 1], [100] * 20))
    assert result.attrs["massive_cosine_sequence_change"] == pytest.approx(change, rel=1e-9)


def test_median_of_a_sample_is_close_and_said():
    states = walk(6000, 2, 16)
    result = analyze(capture(states, [60] * 100), measures=["norm"])
    assert result.attrs["massive_median"] == "of a seeded sample of 4096 tokens"
    ratio = np.abs(states).max((0, 2)) / np.median(np.abs(states), axis=(0, 2))
    assert result["massive_ratio"][0].item() == pytest.approx(ratio.max(), rel=0.03)
    few = analyze(capture(states[:4080], [60] * 68), measures=["norm"])
    assert few.attrs["massive_median"] == "of all tokens"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_states_that_are_no_numbers_are_named(bad: float):
    states = walk(TOKENS, 3, 8)
    states[17, 2, 1] = bad
    with pytest.raises(
        MeasureError, match=r"layer 2 \(block.1\), row 17 \(sequence 2, position 2\): the state is NaN or inf"
    ):
        analyze(capture(states, LENGTHS), measures=["cosine"])


def test_odd_and_even_medians():
    import torch

    values = torch.tensor([[[3.0, -1.0, 2.0]], [[0.0, -9.0, 4.0]]])
    assert median_magnitude(values) == pytest.approx([2.5])
    assert median_magnitude(values[:1]) == pytest.approx([2.0])
