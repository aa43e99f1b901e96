"""Two captures: the second owns ``layer_other``; they must hold the same tokens."""

import numpy as np
import pytest

from layerscope.errors import MeasureError
from layerscope.measures.analysis import analyze
from layerscope.measures.catalogue import MEASURES
from layerscope.measures.record import Kind
from tests.measures.captures import capture, walk
from tests.measures.oracles import ORACLES, cosine_sequence

LENGTHS = [9, 6, 14, 8]
TOKENS = sum(LENGTHS)
PAIRWISE = [name for name, measure in MEASURES.items() if measure.kind is Kind.PAIRWISE]
PER_LAYER = [name for name, measure in MEASURES.items() if measure.kind is Kind.PER_LAYER]
ANY_WIDTH = [name for name in PAIRWISE if not MEASURES[name].same_width]


def test_every_measure_between_two_depths():
    one, two = walk(TOKENS, 3, 5, seed=1), walk(TOKENS, 4, 5, seed=2)
    two[9, 2, 1] = 7e3
    result = analyze(capture(one, LENGTHS), capture(two, LENGTHS), measures=MEASURES)
    assert result.sizes["layer"] == 3
    assert result.sizes["layer_other"] == 4
    assert result["layer_name_other"].values.tolist() == ["embedding", "block.0", "block.1", "block.2"]
    for name in PAIRWISE:
        for layer in range(3):
            for other in range(4):
                expected = ORACLES[name](one[:, layer], two[:, other], LENGTHS)
                assert result[name][layer, other].item() == pytest.approx(expected, rel=1e-9, abs=1e-9), name
    for name in PER_LAYER:
        for states, found in ((one, result[name]), (two, result[f"{name}_other"])):
            for layer in range(1, states.shape[1]):
                expected = ORACLES[name](states[:, layer - 1], states[:, layer], LENGTHS)
                assert found[layer].item() == pytest.approx(expected, rel=1e-9)
        assert result[f"{name}_other"].dims == ("layer_other",)
    assert np.isnan([result["block_influence"][0], result["block_influence_other"][0]]).all()


def test_intervals_of_the_second_capture():
    one, two = walk(TOKENS, 3, 5, seed=1), walk(TOKENS, 2, 5, seed=2)
    names = ["norm", "variance", "block_influence", "effective_rank"]
    pair = analyze(capture(one, LENGTHS), capture(two, LENGTHS), measures=names, bootstrap=8)
    alone = analyze(capture(two, LENGTHS), measures=names, bootstrap=8)
    for name in names:
        for bound in ("low", "high"):
            np.testing.assert_allclose(pair[f"{name}_other_{bound}"], alone[f"{name}_{bound}"], rtol=1e-10)


@pytest.mark.parametrize("tokens", ["many", "few"])
@pytest.mark.parametrize("name", ANY_WIDTH)
def test_different_widths(name: str, tokens: str):
    least = MEASURES[name].least_tokens
    lengths = LENGTHS if tokens == "many" else [3, max(3, least)]
    one, two = walk(sum(lengths), 2, 15, seed=1), walk(sum(lengths), 2, 13, seed=2)
    if tokens == "few" and MEASURES[name].needs_more_tokens_than_features:
        with pytest.raises(
            MeasureError, match=rf"{name} has no meaning there, because its \d tokens fill all \d directions"
        ):
            analyze(capture(one, lengths), capture(two, lengths), measures=[name])
        return
    result = analyze(capture(one, lengths), capture(two, lengths), measures=[name, "norm"])
    for layer, other in np.ndindex(2, 2):
        expected = ORACLES[name](one[:, layer], two[:, other], lengths)
        assert result[name][layer, other].item() == pytest.approx(expected, rel=1e-9)
    assert result["norm_other"][1].item() == pytest.approx(ORACLES["norm"](one[:, 0], two[:, 1], lengths))
    assert np.isnan(result.attrs["massive_cosine_sequence_change"])


def test_different_widths_are_refused_where_they_have_no_meaning():
    one, two = capture(walk(TOKENS, 2, 9), LENGTHS), capture(walk(TOKENS, 2, 7), LENGTHS)
    with pytest.raises(MeasureError, match="cosine compares states of one width, got 9 and 7 features") as refusal:
        analyze(one, two)
    assert "--measures cka,cka_biased,procrustes" in str(refusal.value)


@pytest.mark.parametrize("name", [name for name in PAIRWISE if MEASURES[name].same_width])
def test_every_measure_of_one_width_says_so_and_names_the_others(name: str):
    one, two = capture(walk(TOKENS, 2, 9), LENGTHS), capture(walk(TOKENS, 2, 7), LENGTHS)
    with pytest.raises(MeasureError, match=f"{name} compares states of one width, got 9 and 7") as refusal:
        analyze(one, two, measures=[name])
    assert str(refusal.value).endswith("--measures " + ",".join(ANY_WIDTH))


def test_float32_against_float64():
    states = walk(TOKENS, 2, 5)
    result = analyze(capture(states.astype(np.float32), LENGTHS), capture(states, LENGTHS), measures=["cosine", "cka"])
    assert np.diag(result["cosine"]) == pytest.approx(1, abs=1e-7)


def test_massive_tokens_of_either_are_left_out():
    states = walk(TOKENS, 2, 5)
    sink = states.copy()
    sink[0, 1, 2] = 1e5
    for pair in ((states, sink), (sink, states)):
        result = analyze(*(capture(each, LENGTHS) for each in pair), measures=["norm"])
        assert result.attrs["massive_tokens"] == 1
        rest = np.arange(TOKENS) > 0
        lengths = [LENGTHS[0] - 1, *LENGTHS[1:]]
        change = np.zeros((2, 2))
        for layer, other in np.ndindex(2, 2):
            X, Y = pair[0][:, layer], pair[1][:, other]
            change[layer, other] = cosine_sequence(X[rest], Y[rest], lengths) - cosine_sequence(X, Y, LENGTHS)
        # The sink's products are taken from sums 1e9 times larger than what is left.
        assert result.attrs["massive_cosine_sequence_change"] == pytest.approx(np.abs(change).max(), abs=1e-7)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"token_id": 5}, "row 5 has token_id 5 and 1005"),
        ({"position": 11}, "row 11 has position 2 and 1002"),
        ({"sequence_index": 36}, "row 36 has sequence_index 3 and 1003"),
    ],
)
def test_different_tokens_are_refused_with_the_first_row(change: dict[str, int], text: str):
    one, two = capture(walk(TOKENS, 2, 5), LENGTHS), capture(walk(TOKENS, 2, 5), LENGTHS)
    for name, row in change.items():
        values = two[name].to_numpy().copy()
        values[row:] += 1000
        two = two.assign_coords({name: ("token", values)})
    with pytest.raises(MeasureError, match=text):
        analyze(one, two)


def test_different_lengths_are_refused():
    one, two = capture(walk(TOKENS, 2, 5), LENGTHS), capture(walk(TOKENS - 1, 2, 5), [9, 6, 14, 7])
    with pytest.raises(MeasureError, match="hold different tokens: 37 and 36 rows"):
        analyze(one, two)
