"""Two captures of different tokenizers: paired where their tokens end at the same character of the same text."""

import numpy as np
import pytest
import xarray

from layerscope.errors import FileError, MeasureError, UsageError
from layerscope.measures.analysis import analyze
from layerscope.measures.passes.pairing import pair
from layerscope.store.opening import open_source
from tests.measures.captures import capture, walk

# One text of two; (start, end) of each token, as a tokenizer of words with a special token before and one of pieces.
WORDS = [[(0, 0), (0, 2), (2, 5), (5, 9)], [(0, 0), (0, 4), (4, 6)]]
PIECES = [[(0, 1), (1, 2), (2, 5), (5, 7), (8, 9), (8, 9)], [(0, 3), (3, 6), (6, 6)]]
# Ends 2, 5 and 9 of the first text (9 twice in the pieces: the bytes of one character), 6 of the second.
ROWS, ROWS_OTHER, SEQUENCE = [1, 2, 3, 6], [1, 2, 5, 7], [0, 0, 0, 1]


def spanned(states: np.ndarray, spans: list[list[tuple[int, int]]], **changes) -> xarray.Dataset:
    start, end = np.array([place for text in spans for place in text]).T
    made = {
        "char_start": ("token", start),
        "char_end": ("token", end),
        "sequence_id": ("sequence", changes.get("ids", ["a", "b"])),
        "text_hash": ("sequence", changes.get("hashes", [11, 22])),
    }
    return capture(states, list(map(len, spans)), token_id=changes.get("token_id")).assign(made)


ONE, TWO = walk(7, 3, 5, seed=1), walk(9, 2, 6, seed=2)
FIRST, SECOND = spanned(ONE, WORDS), spanned(TWO, PIECES)


def paired(align: str = "spans") -> xarray.Dataset:
    return analyze(FIRST, SECOND, measures=["cka_biased", "norm"], align=align)


def test_tokens_that_end_together_are_paired():
    with open_source(FIRST) as one, open_source(SECOND) as two:
        pairing = pair(one, two, "spans")
    assert pairing.first.position.tolist() == [1, 2, 3, 2]
    assert pairing.second.position.tolist() == [1, 2, 5, 1]
    assert pairing.first.sequence_index.tolist() == pairing.second.sequence_index.tolist() == SEQUENCE
    np.testing.assert_array_equal(pairing.first.read(0, 4), ONE[ROWS])
    np.testing.assert_array_equal(pairing.second.read(0, 4), TWO[ROWS_OTHER])
    np.testing.assert_array_equal(pairing.second.read(1, 3), TWO[ROWS_OTHER[1:3]])
    assert pairing.second.read(2, 2).shape == (0, 2, 6)


def test_measures_are_those_of_the_paired_rows_and_say_how_many():
    found = paired()
    expected = analyze(capture(ONE[ROWS], [3, 1]), capture(TWO[ROWS_OTHER], [3, 1]), measures=["cka_biased", "norm"])
    xarray.testing.assert_allclose(found[["cka_biased", "norm", "norm_other"]], expected[list(found.data_vars)[:3]])
    assert found["cka_biased"].attrs["tokens"] == 4
    facts = {name: found.attrs[name] for name in ("alignment", "aligned_tokens")}
    assert facts == {"alignment": "spans", "aligned_tokens": 4}
    assert (found.attrs["captured_tokens"], found.attrs["captured_tokens_other"]) == (7, 9)
    same = analyze(FIRST, FIRST, measures=["norm"])
    assert (same.attrs["alignment"], same.attrs["aligned_tokens"]) == ("tokens", 7)


def test_texts_in_another_order_and_texts_of_one_side_only():
    turned = SECOND.isel(token=[6, 7, 8, 0, 1, 2, 3, 4, 5])
    turned = turned.assign(
        sequence_index=("token", [0] * 3 + [1] * 6),
        sequence_id=("sequence", ["b", "a"]),
        text_hash=("sequence", [22, 11]),
    )
    xarray.testing.assert_allclose(
        analyze(FIRST, turned, measures=["cka_biased", "norm"], align="spans"), paired(), rtol=1e-12
    )
    fewer = spanned(TWO, PIECES, ids=["a", "c"], hashes=[11, 5])
    assert analyze(FIRST, fewer, measures=["norm"], align="spans").attrs["aligned_tokens"] == 3


def test_texts_of_one_name_are_paired_in_their_order():
    twins = [spanned(ONE, WORDS, ids=["a", "a"]), spanned(TWO, PIECES, ids=["a", "a"])]
    assert analyze(*twins, measures=["norm"], align="spans").attrs["aligned_tokens"] == 4


def test_first_positions_of_either_are_left_out():
    found = analyze(FIRST, SECOND, measures=["norm"], align="spans", exclude_first=2)
    assert found["norm"].attrs["tokens"] == 2  # the pairs at positions (2, 2) and (3, 5); not (1, 1), not (2, 1)
    assert found["norm_other"][1].item() == pytest.approx(np.linalg.norm(TWO[[2, 5], 1], axis=-1).mean())


def test_unless_told_otherwise_rows_that_agree_are_compared_and_others_paired_with_a_note():
    with pytest.warns(UserWarning, match=r"row 4 has sequence_index 1 and 0; compared where tokens end at the same"):
        found = paired("auto")
    xarray.testing.assert_equal(found, paired())
    assert analyze(FIRST, FIRST, measures=["norm"])["norm"].attrs["tokens"] == 7


@pytest.mark.parametrize(
    ("one", "two", "align", "error", "text"),
    [
        (FIRST, SECOND, "tokens", MeasureError, r"(?s)hold different tokens: row 4 .* capture both with --spans"),
        (FIRST, SECOND.drop_vars("char_end"), "auto", MeasureError, r"(?s)row 4 .* capture both with --spans"),
        (
            FIRST,
            SECOND.drop_vars("char_end"),
            "spans",
            UsageError,
            "does not record the characters of its tokens.* with --spans",
        ),
        (FIRST, SECOND, "words", UsageError, "unknown alignment 'words': .*Known: auto, tokens, spans"),
        (FIRST, spanned(TWO, PIECES, hashes=[11, 23]), "spans", MeasureError, "different texts under the id 'b'"),
        (FIRST, spanned(TWO, PIECES, ids=["c", "d"]), "spans", MeasureError, "no two tokens that end at the same"),
        (FIRST, SECOND.isel(sequence=[0]), "spans", FileError, "rows of sequence 1, and 1 sequences"),
    ],
)
def test_what_cannot_be_paired_is_refused(one, two, align: str, error: type[Exception], text: str):
    with pytest.raises(error, match=text):
        analyze(one, two, measures=["norm"], align=align)


def test_too_few_pairs_for_a_measure_are_refused():
    few = [each.isel(token=slice(0, 4)) for each in (FIRST, SECOND)]
    with pytest.raises(MeasureError, match="cka needs at least 4 tokens, got 2"):
        analyze(*few, measures=["cka"], align="spans")
