"""Tokenizers as their authors publish them, written as GGUF and read back: the ids of awkward texts are the same."""

import json
from pathlib import Path

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, processors, trainers
from tokenizers import pre_tokenizers as pre

from layerscope.errors import ModelError
from layerscope.models.gguf.file import GGUFFile
from layerscope.models.gguf.vocabulary import build_tokenizer
from tests.models.gguf_files import write_file

AWKWARD = [
    "",
    " ",
    "a  2",
    "  leading, and trailing  ",
    "In 2023 it cost 1234567.89 — not 12 345!",
    "x\n\n\n7\n \n8\r\n\t9\t\t10",
    "I'll SAY'LL don't we'Re they'VE",
    "def f(x):\n    return x**2  # ok\n\n\n",
    "東京で2024年3月、한국어와 中文。日本語テキスト",
    "naïve café ÀÉÎ e\u0301 n\u0303o o\u0302\u0323",
    "👩🏽‍🚀🤷🏽‍♀️ emoji🙂🙂 ½ ¼ ² ١٢٣ ४५",
    "नमस्ते दुनिया สวัสดี ชาวโลก مرحبا ١٢",
    "<|end|> in <|end|>text <think>  x</think>\n\n1",
    "$$$ ^^^ ~~~ ``` ||| <=> ... !!! ???",
    "\u00a0\u3000\u200bzero width\u2028line",
    "snake_case CamelCase HTTPServer ﬁne Ⅷ",
]
_REPEATED = ["the theme of the there 2023 2024  22  33", "\n\n1\n\n2\n\n12", "e\u0301 \u00e9t\u00e9"]
_CORPUS = [text * 3 for text in AWKWARD] + _REPEATED * 5

_TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = rf"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_TAIL}"
_QWEN2 = rf"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{_TAIL}"
_TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|"
    r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_DEEPSEEK = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|"
    r" ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _split(pattern: str) -> pre.PreTokenizer:
    return pre.Split(Regex(pattern), "isolated", invert=False)


def _bytes(use_regex: bool) -> pre.PreTokenizer:
    return pre.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=use_regex)


def _digits_first() -> pre.PreTokenizer:
    return pre.Sequence([pre.Digits(individual_digits=True), _bytes(True)])


def _of(*patterns: str) -> pre.PreTokenizer:
    return pre.Sequence([*(_split(pattern) for pattern in patterns), _bytes(False)])


# By name: the splitter of the published tokenizer.json, whether it normalises to NFC, whether it ignores merges.
PUBLISHED = {
    "gpt-2": (_bytes(True), False, False),
    "smollm": (_digits_first(), False, False),
    "starcoder": (_digits_first(), False, False),
    "refact": (_digits_first(), False, False),
    "olmo": (_bytes(True), True, False),
    "mpt": (_bytes(True), True, False),
    "llama-bpe": (_of(_LLAMA3), False, True),
    "llama3": (_of(_LLAMA3), False, True),
    "qwen2": (_of(_QWEN2), True, False),
    "tekken": (_of(_TEKKEN), False, True),
    "bloom": (_of(r" ?[^(\s|[.,!?…。，、।۔،])]+"), False, False),
    "falcon": (
        pre.Sequence([pre.Punctuation("contiguous"), _bytes(True), pre.Digits(False), _split("[0-9][0-9][0-9]")]),
        False,
        False,
    ),
    "deepseek-coder": (
        pre.Sequence(
            [_split(each) for each in ("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-\ud7ff]+")]
            + [pre.Digits(individual_digits=True), _bytes(False)]
        ),
        False,
        False,
    ),
    "deepseek-v3": (_of(r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+", _DEEPSEEK), False, False),
    "default": (
        _of(
            r"[\p{P}\$\+<=>\^~\|]+",
            r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)",
            r"\p{N}+",
            "[0-9][0-9][0-9]",
        ),
        False,
        False,
    ),
}


def _published(name: str) -> Tokenizer:
    """Train a byte-level tokenizer with the splitter of a published one, and two added tokens."""
    splitter, nfc, ignore_merges = PUBLISHED[name]
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = splitter
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=["<|end|>"], initial_alphabet=pre.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    tokenizer.add_tokens([AddedToken("<think>", normalized=False, special=False)])
    return tokenizer


def _keys(tokenizer: Tokenizer) -> dict:
    """Return the keys that llama.cpp's converter writes for a byte-level tokenizer."""
    pairs = json.loads(tokenizer.to_str())["model"]["merges"]
    count = tokenizer.get_vocab_size()
    kinds = {"<|end|>": 3, "<think>": 4}
    tokens = [tokenizer.id_to_token(number) for number in range(count)]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [kinds.get(token, 1) for token in tokens],
        "tokenizer.ggml.merges": [" ".join(pair) for pair in pairs],
        "tokenizer.ggml.eos_token_id": 0,
        "tokenizer.ggml.bos_token_id": 0,
    }


def _read(folder: Path, keys: dict):
    return build_tokenizer(GGUFFile.open(write_file(folder / "t.gguf", "llama", keys, {})))


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_splitter_named_by_the_file_is_applied(tmp_path, name):
    published = _published(name)
    read = _read(tmp_path, _keys(published) | {"tokenizer.ggml.pre": name, "tokenizer.ggml.add_bos_token": False})
    for text in [*AWKWARD, *_CORPUS]:
        assert read(text)["input_ids"] == published.encode(text).ids, text
    assert len(read) == published.get_vocab_size()
    assert read.all_special_ids == [0]


def test_whole_pieces_are_taken_where_the_splitter_says_so(tmp_path):
    tokens = [*sorted(pre.ByteLevel.alphabet()), "ab", "abc"]  # abc is a token that no merge makes
    keys = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.merges": ["a b"]}
    for name, pieces in (("llama-bpe", ["abc"]), ("qwen2", ["ab", "c"])):
        read = _read(tmp_path, keys | {"tokenizer.ggml.pre": name, "tokenizer.ggml.add_bos_token": False})
        assert read.tokenize("abc") == pieces


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            {"tokenizer.ggml.pre": "no-such-splitter"},
            r"tokenizer\.ggml\.pre = 'no-such-splitter' is an unknown splitter",
        ),
        ({"tokenizer.ggml.model": "rwkv"}, r"tokenizer\.ggml\.model = 'rwkv' is unknown \(known: gpt2, llama\)"),
        ({"tokenizer.ggml.model": None}, r"the key tokenizer\.ggml\.model is missing"),
        ({"tokenizer.ggml.merges": None}, r"the key tokenizer\.ggml\.merges is missing"),
        ({"tokenizer.ggml.eos_token_id": 7000}, r"tokenizer\.ggml\.eos_token_id = 7000 is beyond the \d+ tokens"),
        ({"tokenizer.ggml.add_space_prefix": True}, r"tokenizer\.ggml\.add_space_prefix = True"),
        ({"tokenizer.ggml.token_type": [1, 1]}, r"tokenizer\.ggml\.token_type has 2 of \d+ tokens"),
        ({"tokenizer.ggml.tokens": ["a", "b", "a"]}, r"tokenizer\.ggml\.tokens: 1 token more than once \('a'\)"),
        (
            {"tokenizer.ggml.bos_token_id": None, "tokenizer.ggml.add_bos_token": True},
            r"add_bos_token requires a token",
        ),
    ],
)
def test_a_tokenizer_that_is_not_understood_is_refused_by_name(tmp_path, keys, said):
    keys = _keys(_published("gpt-2")) | {"tokenizer.ggml.pre": "gpt-2"} | keys
    if len(keys["tokenizer.ggml.tokens"]) == 3:
        del keys["tokenizer.ggml.token_type"]
    with pytest.raises(ModelError, match=said):
        _read(tmp_path, keys)


def test_a_file_without_a_splitter_is_split_as_gpt2_and_says_so(tmp_path):
    published = _published("gpt-2")
    with pytest.warns(UserWarning, match=r"t\.gguf has no key tokenizer\.ggml\.pre"):
        read = _read(tmp_path, _keys(published))
    assert [read(text)["input_ids"] for text in AWKWARD] == [published.encode(text).ids for text in AWKWARD]


def test_nothing_is_said_where_no_splitter_would_make_a_difference(tmp_path):
    tokens = [*sorted(pre.ByteLevel.alphabet()), "ab"]
    keys = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.merges": ["a b"]}
    assert _read(tmp_path, keys).tokenize("ab  2") == ["ab", "Ġ", "Ġ", "2"]


@pytest.mark.parametrize("begin", [None, True, False])
@pytest.mark.parametrize("end", [None, True, False])
@pytest.mark.parametrize("name", ["llama-bpe", "gpt-2"])
def test_texts_begin_and_end_as_the_file_says(tmp_path, begin, end, name):
    keys = _keys(_published(name)) | {"tokenizer.ggml.pre": name, "tokenizer.ggml.bos_token_id": 5}
    read = _read(tmp_path, keys | {"tokenizer.ggml.add_bos_token": begin, "tokenizer.ggml.add_eos_token": end})
    begins = begin if begin is not None else name == "llama-bpe"
    bare = read("a  2", add_special_tokens=False)["input_ids"]
    assert read("a  2")["input_ids"] == [5] * begins + bare + [0] * bool(end)


_PIECES = ["▁the", "▁", "the", "th", "he", "▁t", "in", "▁in", "▁▁▁", "▁▁x"]


def _sentencepiece(prefix: bool) -> tuple[Tokenizer, dict]:
    """Make a tokenizer as Llama 2 (with a space in front) and Gemma (without) publish it, and the keys of its file."""
    letters = [*"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,'", "é"]
    bytes_ = [f"<0x{number:02X}>" for number in range(256)]
    tokens = ["<unk>", "<s>", "</s>", *bytes_, "▁▁", "\n\n", "<tag>", *_PIECES, *(set(letters) - set(_PIECES))]
    ids = {token: number for number, token in enumerate(tokens)}
    merges = [("▁", "▁")]
    for piece in _PIECES:
        halves = [(piece[:cut], piece[cut:]) for cut in range(1, len(piece))]
        merges += [(left, right) for left, right in halves if left in ids and right in ids]
    tokenizer = Tokenizer(models.BPE(ids, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    spaces = normalizers.Replace(" ", "▁")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), spaces]) if prefix else spaces
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in tokens[:3]])
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in ("▁▁", "\n\n", "<tag>")])
    kinds = [2, 3, 3, *[6] * 256, 4, 4, 4, *[1] * (len(tokens) - 262)]
    scores = [0.0] * 259 + [-1000.0] * 3 + [-float(number) for number in range(len(tokens) - 262)]
    keys = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": [token.replace("▁▁", "  ") if token == "▁▁" else token for token in tokens],
        "tokenizer.ggml.scores": scores,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.add_space_prefix": None if prefix else False,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    }
    return tokenizer, keys


@pytest.mark.parametrize("prefix", [True, False])
def test_sentencepiece_is_read_as_published(tmp_path, prefix):
    published, keys = _sentencepiece(prefix)
    read = _read(tmp_path, keys)
    texts = [*AWKWARD, "the  theme   in the    thin", "  the", "x<tag>the</s> the<s>", "\n\n\nthe \n\n the", "   x   x"]
    for text in texts:
        assert read(text)["input_ids"] == published.encode(text).ids, text
    assert read.decode(read("the é 京", add_special_tokens=False)["input_ids"]) == "the é 京"
    assert len(read) == published.get_vocab_size()


def test_sentencepiece_goes_by_the_merges_of_the_file_where_it_has_them(tmp_path):
    _, keys = _sentencepiece(False)
    keys = {key: value for key, value in keys.items() if key != "tokenizer.ggml.scores"}
    read = _read(tmp_path, keys | {"tokenizer.ggml.merges": ["h e"], "tokenizer.ggml.add_bos_token": False})
    assert read.tokenize("the") == ["t", "he"]
    with pytest.raises(ModelError, match=r"tokenizer\.ggml\.scores has no score for every token"):
        _read(tmp_path, keys)


@pytest.mark.real
def test_the_demo_model_reads_two_spaces_before_a_number_as_published(smollm2):
    assert smollm2.tokenizer.tokenize("a  2") == ["a", "ĠĠ", "2"]
    assert smollm2.tokenizer.tokenize("x\n\n12") == ["x", "ĊĊ", "1", "2"]
    assert smollm2.tokenizer("a  2")["input_ids"] == [81, 256, 34]
