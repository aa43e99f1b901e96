"""Spans: the characters that each token has read, held against the bytes of byte-level tokens and by hand for the rest."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from layerscope.texts.offsets import own_characters, untrimmed
from layerscope.texts.text import Text
from layerscope.texts.tokens import tokenize


def byte_values() -> dict[str, int]:
    """Return the byte that each character of the byte-level alphabet stands for, from the rule of GPT-2."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + n): byte for n, byte in enumerate(rest)}


VALUES = byte_values()
TRIMMING = {
    "none": None,
    "byte-level": processors.ByteLevel(trim_offsets=True),
    "roberta": processors.RobertaProcessing(("!", 0), ("!", 0), trim_offsets=True, add_prefix_space=False),
    "sequence": processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=True),
            processors.TemplateProcessing(single="! $A !", special_tokens=[("!", 0)]),
        ]
    ),
}


def byte_tokenizer(trimming: str, splits: bool, prefix: bool = False) -> PreTrainedTokenizerFast:
    """Train one on scripts of two to four bytes: without splits it has tokens that begin and end inside characters."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=splits)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    corpus = ["é ö 水 上 😀 😁\n  a\n   b", "aéb é水é 😀😀a", "   \n\n  x"]
    backend.train_from_iterator(
        corpus, trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet, show_progress=False)
    )
    if TRIMMING[trimming] is not None:
        backend.post_processor = TRIMMING[trimming]
    return PreTrainedTokenizerFast(tokenizer_object=backend)


BYTE_LEVEL = {(trimming, splits): byte_tokenizer(trimming, splits) for trimming in TRIMMING for splits in (True, False)}
SCRIPTS = st.text(st.sampled_from(" \n\tabé水上😀😁öx\u0301") | st.characters(exclude_categories=["Cs"]), max_size=20)


def spans_of(tokenizer, text, **options):
    sequences = list(tokenize([Text("t", text)], tokenizer, options.pop("max_length", None), spans=True))
    return sequences[0].token_ids, sequences[0].spans


@given(SCRIPTS.filter(len), st.sampled_from(sorted(BYTE_LEVEL)), st.none() | st.integers(4, 12))
def test_byte_level_tokens_end_where_their_bytes_end(text, kind, max_length):
    tokenizer = BYTE_LEVEL[kind]
    special = 0 if kind[0] in ("none", "byte-level") else 1
    ids, spans = spans_of(tokenizer, text, max_length=max_length)
    if special:
        assert spans[[0, -1]].tolist() == [[0, 0], [0, 0]]
        ids, spans = ids[1:-1], spans[1:-1]
    boundary = {len(text[:count].encode()): count for count in range(len(text) + 1)}
    read, pieces, previous = 0, [], (0, 0)
    for token, (start, end) in zip(tokenizer.convert_ids_to_tokens(ids.tolist()), spans.tolist(), strict=True):
        read += len(bytes(VALUES[character] for character in token))
        if read in boundary:  # the token has read whole characters up to here, and exactly these
            assert end == boundary[read]
            assert start < end
        assert start in (previous[1], previous[0], end - 1)
        assert end >= previous[1] or start == end
        if start < end and (start, end) != previous:
            pieces.append((start, end))
            previous = (start, end)
    whole = max((count for size, count in boundary.items() if size <= read), default=0)
    covered = sorted({place for start, end in pieces for place in range(start, end)})
    assert covered == list(range(whole))
    assert all(end in boundary.values() for _, end in pieces)


@given(SCRIPTS.filter(len), st.sampled_from(sorted(TRIMMING)))
def test_pieces_joined_are_the_text_where_no_character_is_split(text, trimming):
    text = "".join(character for character in text if ord(character) < 128) or "a"
    _, spans = spans_of(BYTE_LEVEL[trimming, True], text)
    assert "".join(text[start:end] for start, end in spans) == text


def test_offsets_that_the_library_trims_are_whole():
    text = "a\n   b"
    _, spans = spans_of(BYTE_LEVEL["byte-level", True], text)
    trimmed = BYTE_LEVEL["byte-level", True](text, return_offsets_mapping=True)["offset_mapping"]
    assert "".join(text[start:end] for start, end in spans) == text
    assert spans.tolist() != list(map(list, trimmed))  # so the library still trims for others


def test_the_post_processor_is_left_as_it_was():
    backend = BYTE_LEVEL["sequence", True].backend_tokenizer
    with untrimmed(backend):
        assert not backend.post_processor[0].trim_offsets
    assert backend.post_processor[0].trim_offsets


def character_tokenizer(normalizer=None, pre_tokenizer=None) -> PreTrainedTokenizerFast:
    letters = dict.fromkeys(["?", *map(chr, range(32, 127)), *"éäöü▁\u0301\u0308가xyz"])
    backend = Tokenizer(models.BPE(vocab={letter: n for n, letter in enumerate(letters)}, merges=[], unk_token="?"))
    if normalizer is not None:
        backend.normalizer = normalizer
    if pre_tokenizer is not None:
        backend.pre_tokenizer = pre_tokenizer
    return PreTrainedTokenizerFast(tokenizer_object=backend)


SENTENCEPIECE = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])


@pytest.mark.parametrize(
    ("normalizer", "pre_tokenizer", "text", "expected"),
    [
        (SENTENCEPIECE, None, "on it", [(0, 0), (0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]),
        (SENTENCEPIECE, None, " on", [(0, 0), (0, 1), (1, 2), (2, 3)]),
        (None, pre_tokenizers.Metaspace(), "on", [(0, 0), (0, 1), (1, 2)]),
        (normalizers.NFC(), None, "e\u0301a", [(0, 2), (2, 3)]),
        (normalizers.NFC(), None, "\u1100\u1161a", [(0, 2), (2, 3)]),
        (normalizers.NFD(), None, "éa", [(0, 1), (0, 1), (1, 2)]),
        (normalizers.NFKC(), None, "ﬁa", [(0, 1), (0, 1), (1, 2)]),
        (
            normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()]),
            None,
            "e\u0301\u0308 a",
            [(0, 3), (3, 4), (4, 5)],
        ),
        (normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer(), " O  n\u0301", [(1, 2), (4, 6)]),
        (normalizers.Strip(), None, "  a ", [(2, 3)]),
        (normalizers.Replace(Regex(" {2,}"), " "), None, "a  b", [(0, 1), (2, 3), (3, 4)]),
    ],
)
def test_what_a_normalizer_adds_drops_and_composes(normalizer, pre_tokenizer, text, expected):
    _, spans = spans_of(character_tokenizer(normalizer, pre_tokenizer), text)
    assert spans.tolist() == [list(span) for span in expected]


def test_a_space_that_is_not_in_the_text_has_no_characters():
    ids, spans = spans_of(byte_tokenizer("byte-level", splits=True, prefix=True), "z c")
    assert len(ids) == len(spans) == 4
    assert spans.tolist() == [[0, 0], [0, 1], [1, 2], [2, 3]]


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        ([0, 1, 2, 3, 4], [(0, 0), (0, 2), (1, 2), (1, 2), (2, 3)]),
        ([1, 2, 4], [(0, 0), (0, 0), (1, 1), (1, 1), (2, 3)]),  # both have read a part of the second character only
        ([0, 3], [(0, 0), (0, 2), (1, 2), (1, 2), (2, 2)]),
    ],
)
def test_a_part_of_a_character_counts_only_beside_its_last(kept, expected):
    spans = np.array([(0, 0), (0, 2), (1, 2), (1, 2), (2, 3)])
    assert own_characters(spans, np.array(kept)).tolist() == [list(span) for span in expected]
