import logging
import re
from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from layerscope.errors import TextsError, UsageError
from layerscope.texts.text import Text
from layerscope.texts.tokens import TokenizedSequence, tokenize

WORDS = {"<unk>": 0, "<s>": 1, "</s>": 2} | {word: i + 3 for i, word in enumerate(["so", "it", "goes", "on", "and"])}
SPECIALS = {"": ([], []), "bos": ([1], []), "eos": ([], [2]), "both": ([1], [2])}


def word_tokenizer(special: str = "", **options) -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.WordLevel(WORDS, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if special:
        template = {"bos": "<s> $A", "eos": "$A </s>", "both": "<s> $A </s>"}[special]
        backend.post_processor = processors.TemplateProcessing(
            single=template, special_tokens=[("<s>", 1), ("</s>", 2)]
        )
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", **options)


def byte_tokenizer() -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        ["so it goes and goes on", "on it goes"],
        trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False),
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend)


def texts_of(*strings: str) -> list[Text]:
    return [Text(f"t{i}", string) for i, string in enumerate(strings)]


TOKENIZERS = {special: word_tokenizer(special) for special in SPECIALS}
BYTES = byte_tokenizer()


@given(
    words=st.lists(st.lists(st.sampled_from([*["so", "it", "goes", "on", "and"], "unheard"]), max_size=8), max_size=6),
    max_length=st.none() | st.integers(2, 9),
    special=st.sampled_from(list(SPECIALS)),
)
def test_tokens_are_the_tokenizers_own_with_its_special_ones(words, max_length, special):
    before, after = SPECIALS[special]
    expected = []
    for i, sequence in enumerate(words):
        ids = [WORDS.get(word, 0) for word in sequence]
        room = len(ids) if max_length is None else max_length - len(before) - len(after)
        if before + ids + after:
            expected.append((f"t{i}", before + ids[:room] + after, len(ids) > room))
    stream = tokenize(texts_of(*map(" ".join, words)), TOKENIZERS[special], max_length)
    got = list(stream)
    assert [(s.id, s.token_ids.tolist(), s.truncated) for s in got] == expected
    assert all(s.token_ids.dtype == np.int32 for s in got)
    assert stream.truncated == sum(cut for _, _, cut in expected)
    assert stream.skipped == len(words) - len(expected)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20), max_size=5))
def test_byte_level_tokens_give_back_any_script(strings):
    stream = tokenize(texts_of(*strings), BYTES, None)
    assert [BYTES.decode(s.token_ids) for s in stream] == strings


def test_a_text_of_exactly_the_greatest_length_is_whole():
    stream = tokenize(texts_of("and and and", "so it goes on", "on on on", "it it it it"), word_tokenizer("both"), 5)
    assert [(s.token_ids.tolist(), s.truncated) for s in stream] == [
        ([1, 7, 7, 7, 2], False),
        ([1, 3, 4, 5, 2], True),
        ([1, 6, 6, 6, 2], False),
        ([1, 4, 4, 4, 2], True),
    ]


def test_the_special_tokens_alone_may_be_all_that_is_left():
    stream = tokenize(texts_of("so it"), word_tokenizer("both"), max_length=2)
    assert [s.token_ids.tolist() for s in stream] == [[1, 2]]


def test_the_tokenizers_own_truncation_side_holds():
    stream = tokenize(texts_of("so it goes on"), word_tokenizer("bos", truncation_side="left"), max_length=3)
    assert [s.token_ids.tolist() for s in stream] == [[1, 5, 6]]


def test_truncation_and_padding_stored_with_the_tokenizer_do_not_apply():
    backend = word_tokenizer().backend_tokenizer
    backend.enable_truncation(2)
    backend.enable_padding(length=9)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<unk>")
    stream = tokenize(texts_of("so it goes on", "so"), tokenizer, max_length=3)
    assert [(s.token_ids.tolist(), s.truncated) for s in stream] == [([3, 4, 5], True), ([3], False)]


def test_nothing_is_said_about_the_tokenizers_own_limit():
    said = []
    handler = logging.Handler()
    handler.emit = said.append
    logger = logging.getLogger("transformers")
    logger.addHandler(handler)
    try:
        tokenizer = word_tokenizer(model_max_length=2)
        lengths = [len(s.token_ids) for s in tokenize(texts_of("so it goes on", "so it goes"), tokenizer, 3)]
    finally:
        logger.removeHandler(handler)
    assert lengths == [3, 3]
    assert said == []


def test_texts_without_a_token_are_skipped_and_counted():
    silent = Tokenizer(
        models.BPE(vocab={"a": 0, "b": 1}, merges=[])
    )  # no unknown token: what it cannot spell is nothing
    stream = tokenize(texts_of("☃", "ab", "☃☃", "b☃"), PreTrainedTokenizerFast(tokenizer_object=silent), 4)
    assert [(s.id, s.token_ids.tolist()) for s in stream] == [("t1", [0, 1]), ("t3", [1])]
    assert stream.skipped == 2


@pytest.mark.parametrize(
    ("splits", "said"),
    [
        (None, r"the text 't0' \(Exception: WordLevel error: Missing \[UNK\] token"),
        (r"(a+)+$", r"the text 't0' \(PanicException: Onig: Regex search error"),
    ],
)
def test_a_text_on_which_the_tokenizer_fails_is_named(splits, said):
    backend = Tokenizer(models.WordLevel({"a": 0}, unk_token="<unk>"))
    if splits:
        backend.pre_tokenizer = pre_tokenizers.Split(Regex(splits), "isolated")
    with pytest.raises(TextsError, match=said):
        list(tokenize(texts_of("a" * 40 + "!"), PreTrainedTokenizerFast(tokenizer_object=backend), None))


def test_order_is_kept_over_many_calls_and_no_text_is_read_too_early():
    read = []

    def texts():
        for i in count():
            read.append(i)
            yield Text(str(i), " ".join(["so"] * (i % 5 + 1)))

    stream = tokenize(texts(), word_tokenizer(), max_length=4)
    assert not read
    first = [next(stream) for _ in range(1000)]
    assert [s.id for s in first] == [str(i) for i in range(1000)]
    assert [len(s.token_ids) for s in first] == [min(i % 5 + 1, 4) for i in range(1000)]
    assert stream.truncated == 200
    assert len(read) < 1300


def test_no_texts_give_no_sequences():
    assert list(tokenize([], word_tokenizer(), None)) == []


def test_what_a_sequence_is():
    (sequence,) = tokenize(texts_of("so it"), word_tokenizer(), None)
    assert isinstance(sequence, TokenizedSequence)
    assert sequence._fields == ("id", "token_ids", "truncated", "spans", "text_hash", "metadata", "roles")
    assert sequence[3:] == (None, 0, {}, None)


@pytest.mark.parametrize(("side", "kept"), [("right", "so it"), ("left", "goes on")])
def test_spans_are_the_characters_of_each_token(side, kept):
    text = "so  it\tgoes on"
    tokenizer = word_tokenizer("both", truncation_side=side)
    whole, cut = (next(tokenize(texts_of(text), tokenizer, limit, spans=True)) for limit in (None, 4))
    assert [text[start:end] for start, end in whole.spans] == ["", "so", "it", "goes", "on", ""]
    assert [text[start:end] for start, end in cut.spans] == ["", *kept.split(), ""]
    assert whole.text_hash == cut.text_hash != 0
    assert next(tokenize(texts_of(text.replace("  ", " ")), tokenizer, None, spans=True)).text_hash != whole.text_hash


def test_bytes_of_one_character_all_stand_for_it():
    (sequence,) = tokenize(texts_of("so ☃"), BYTES, None, spans=True)
    assert sequence.spans[-2:].tolist() == [[3, 4], [3, 4]]


def test_spans_of_a_tokenizer_that_does_not_know_them_are_refused_at_once():
    class Slow(PreTrainedTokenizerFast):
        is_fast = False

    slow = Slow(tokenizer_object=word_tokenizer().backend_tokenizer)
    with pytest.raises(
        TextsError, match=r"the tokenizer \(Slow\) does not report .* as only fast tokenizers do: leave out --spans"
    ):
        tokenize([], slow, None, spans=True)
    assert next(tokenize(texts_of("so it"), slow, None)).token_ids.tolist() == [3, 4]


@pytest.mark.parametrize(
    ("max_length", "special", "expected"),
    [
        (0, "", "max_length 0: must be 1 or more"),
        (-1, "both", "max_length -1: must be 1 or more"),
        (1, "both", "max_length 1: the tokenizer adds 2 special tokens to each text; give at least 2"),
    ],
)
def test_impossible_lengths_are_refused_at_once(max_length, special, expected):
    with pytest.raises(UsageError) as raised:
        tokenize([], TOKENIZERS[special], max_length)
    assert str(raised.value) == expected


def test_token_ids_bypass_the_tokenizer():
    words = word_tokenizer()
    texts = [Text("a", "so it"), Text("b", "", (5, 6, 7)), Text("c", "", (8,)), Text("d", "goes")]
    stream = tokenize(texts, words, max_length=2, vocabulary_size=9)
    expected = [words("so it")["input_ids"], [5, 6], [8], words("goes")["input_ids"]]
    assert [sequence.token_ids.tolist() for sequence in stream] == expected
    assert stream.truncated == 1
    assert [s.token_ids.tolist() for s in tokenize(texts[1:3], None, None)] == [[5, 6, 7], [8]]


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (
            Text("b", "", (5, 9)),
            {"vocabulary_size": 9},
            "'b' has the token id 9 at position 1, and the model's embedding has the ids 0 to 8",
        ),
        (Text("b", "", (-1,)), {}, "'b' has the token id -1 at position 0"),
        (Text("b", "", (1,)), {"spans": True}, "is given as token ids, which have no characters: leave out --spans"),
        (Text("b", "w1"), {}, "'b' needs a tokenizer, and the model comes without one"),
    ],
)
def test_token_ids_that_cannot_run(text, options, said):
    with pytest.raises(TextsError, match=re.escape(said)):
        list(tokenize([text], None, None, **options))
