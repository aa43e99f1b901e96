"""Tokenizers of checkpoints: the ids are those of tokenizer.json read directly, or the load is refused."""

import json
import os
import warnings
from pathlib import Path

import pytest
import transformers
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

import layerscope as ls
from layerscope.errors import ModelError, TextsError
from layerscope.models import tokenizer as module
from layerscope.models.loading import wrap_module
from layerscope.models.token_ids import check_tokenizer
from layerscope.models.tokenizer import load_tokenizer
from layerscope.models.tokenizer_trial import main as trial
from tests.families import CONFIGS, FAMILIES, tiny_module
from tests.tokenizers import word_tokenizer

SPECIAL = ["<s>", "</s>", "<unk>", "<pad>"]
CORPUS = ["in 2023 it was\n\n cold", "the River  rose 12 345\n\n\n", "it's café, don't"] * 5
LLAMA_3 = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
SPLITTERS = {
    "gpt2": pre_tokenizers.ByteLevel(add_prefix_space=False),
    "gpt2-prefix": pre_tokenizers.ByteLevel(add_prefix_space=True),
    "llama3": pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA_3), "isolated"), BYTES]),
    "digits": pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    ),
    "sentencepiece": None,
}
CLASSES = [None, "TokenizersBackend", "GPT2Tokenizer", "LlamaTokenizer", "Qwen2Tokenizer", "BertTokenizer"]
MORE_CLASSES = [
    "RobertaTokenizer",
    "GPTNeoXTokenizer",
    "GemmaTokenizer",
    "PreTrainedTokenizerFast",
    "T5Tokenizer",
    "CTRLTokenizer",
]
TEXTS = [
    "in 2023\n\nit  was",
    "It's CAFÉ cafe\u0301 <s> x</s>",
    "  1234 the\tRiver\r\n\n\nrose ",
    "<unk> [CLS] <|endoftext|>",
    "水 👩\u200d👧",
    "",
]


def trained(splitter: str) -> Tokenizer:
    backend = Tokenizer(models.BPE())
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if SPLITTERS[splitter] is None:
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        alphabet = []
    else:
        backend.pre_tokenizer = SPLITTERS[splitter]
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(CORPUS, trainer)
    return backend


TRAINED = {splitter: trained(splitter) for splitter in SPLITTERS}


def cased_bert() -> Tokenizer:
    words = {
        word: n for n, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "The", "River", "the", "river"])
    }
    backend = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=False)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return backend


def folder_of(path: Path, family: str, backend: Tokenizer | None = None, **config) -> Path:
    path.mkdir(exist_ok=True)
    CONFIGS[family]().save_pretrained(path)
    if backend is not None:
        backend.save(str(path / "tokenizer.json"))
    (path / "tokenizer_config.json").write_text(json.dumps(config))
    return path


def load(folder: Path):
    return load_tokenizer(folder, "tiny", "fetch it again", {"revision": "main", "trust_remote_code": False})


def loaded_and_said(folder: Path):
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        tokenizer = load(folder)
    return tokenizer, [str(note.message) for note in notes]


def the_ids_of_the_file(folder: Path, tokenizer) -> list[list[int]]:
    written = Tokenizer.from_file(str(folder / "tokenizer.json"))
    expected = [written.encode(text).ids for text in TEXTS]
    assert [tokenizer(text)["input_ids"] for text in TEXTS] == expected
    assert tokenizer(TEXTS)["input_ids"] == expected
    assert all(token is None or 0 <= token < written.get_vocab_size() for token in tokenizer.all_special_ids)
    return expected


def combination(tmp_path: Path, family: str, cls: str | None, splitter: str) -> None:
    folder = folder_of(tmp_path / "m", family, TRAINED[splitter], **({"tokenizer_class": cls} if cls else {}))
    tokenizer, said = loaded_and_said(folder)
    expected = the_ids_of_the_file(folder, tokenizer)
    try:
        by_class = transformers.AutoTokenizer.from_pretrained(folder)
        same = [by_class(text)["input_ids"] for text in TEXTS] == expected
    except Exception:  # a class that does not take this vocabulary
        assert len(said) == 1
        return
    if cls in ("PreTrainedTokenizerFast", "TokenizersBackend"):  # taken as named, whatever transformers makes of it
        assert not said
        return
    assert len(said) <= 1
    if not same:
        assert said[0].startswith(
            f"tiny: {type(by_class).__name__} of transformers gives other ids than tokenizer.json (for "
        )
        assert said[0].endswith("; tokenizer.json is used")


@pytest.mark.parametrize("family", FAMILIES)
def test_tokenizer_json_holds_in_every_family_whatever_class_is_named(tmp_path, family):
    for cls in CLASSES:
        combination(tmp_path, family, cls, "llama3")


@pytest.mark.parametrize("splitter", [splitter for splitter in SPLITTERS if splitter != "llama3"])
def test_tokenizer_json_holds_whatever_its_splitter(tmp_path, splitter):
    for cls in (*CLASSES, *MORE_CLASSES):
        combination(tmp_path, "llama", cls, splitter)


def test_a_difference_is_said_and_none_is_silent(tmp_path):
    folder = folder_of(tmp_path / "m", "llama", TRAINED["llama3"], tokenizer_class="GPT2Tokenizer")
    with pytest.warns(
        UserWarning, match=r"tiny: GPT2Tokenizer of transformers gives other ids than tokenizer\.json \(for '"
    ):
        load(folder)
    transformers.PreTrainedTokenizerFast(tokenizer_object=TRAINED["llama3"], eos_token="</s>").save_pretrained(folder)
    assert loaded_and_said(folder)[1] == []


@pytest.mark.parametrize("config", [{}, {"tokenizer_class": "BertTokenizer"}, {"do_lower_case": True}])
def test_a_cased_bert_stays_cased(tmp_path, config):
    folder = folder_of(tmp_path / "m", "bert", cased_bert(), **config)
    tokenizer, said = loaded_and_said(folder)
    assert tokenizer("The River the river")["input_ids"] == [2, 5, 6, 7, 8, 3]
    assert len(said) == 1
    assert (tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id) == (2, 3, 0)


@pytest.mark.parametrize(
    "config", [{"add_prefix_space": True}, {"split_special_tokens": True}, {"add_prefix_space": True, "legacy": False}]
)
@pytest.mark.parametrize("cls", ["GPT2Tokenizer", "TokenizersBackend", "LlamaTokenizer"])
def test_settings_of_the_class_do_not_change_the_ids(tmp_path, cls, config):
    folder = folder_of(tmp_path / "m", "llama", TRAINED["gpt2"], tokenizer_class=cls, **config)
    the_ids_of_the_file(folder, loaded_and_said(folder)[0])


def test_a_special_token_that_only_the_class_has_is_none(tmp_path):
    folder = folder_of(tmp_path / "m", "gpt2", TRAINED["gpt2"], tokenizer_class="GPT2Tokenizer", pad_token="<pad>")
    tokenizer, said = loaded_and_said(folder)
    assert (tokenizer.eos_token, tokenizer.eos_token_id, tokenizer.pad_token_id) == (None, None, 3)
    assert "<|endoftext|>" in said[0] or "[CLS] [SEP]" in said[0]


@pytest.mark.parametrize(
    ("asked", "template", "said"),
    [
        (True, None, "has add_bos_token true, but tokenizer.json does not add that token"),
        (False, "<s> $A", "has add_bos_token false, but tokenizer.json does add that token"),
        (True, "<s> $A", None),
        (False, None, None),
    ],
)
def test_tokenizer_json_decides_on_special_tokens_around_a_text(tmp_path, asked, template, said):
    backend = Tokenizer.from_str(TRAINED["llama3"].to_str())
    if template:
        backend.post_processor = processors.TemplateProcessing(single=template, special_tokens=[("<s>", 0)])
    options = {"tokenizer_class": "TokenizersBackend", "bos_token": "<s>", "add_bos_token": asked}
    folder = folder_of(tmp_path / "m", "llama", backend, **options)
    tokenizer, notes = loaded_and_said(folder)
    assert (the_ids_of_the_file(folder, tokenizer)[0][0] == 0) == bool(template)
    assert [said in note for note in notes] == [True] * bool(said)


def test_stored_truncation_and_padding_do_not_apply(tmp_path):
    backend = Tokenizer.from_str(TRAINED["gpt2"].to_str())
    backend.enable_truncation(2)
    backend.enable_padding(length=9, pad_id=3, pad_token="<pad>")
    tokenizer, said = loaded_and_said(folder_of(tmp_path / "m", "llama", backend))
    assert tokenizer(TEXTS[0])["input_ids"] == TRAINED["gpt2"].encode(TEXTS[0]).ids
    assert said == []


@pytest.mark.parametrize(
    ("family", "config", "files", "said"),
    [
        ("bert", {}, [], "no tokenizer files: BertTokenizer reads tokenizer.json or vocab.txt"),
        (
            "llama",
            {"tokenizer_class": "LlamaTokenizer"},
            [],
            "no tokenizer files: LlamaTokenizer reads tokenizer.json or",
        ),
        ("gpt2", {}, [], "no tokenizer files: GPT2Tokenizer reads tokenizer.json or merges.txt and vocab.json"),
        ("llama", {}, [], "no tokenizer files, such as tokenizer.json"),
        ("gpt2", {}, ["vocab.json"], "cannot be read as a model .*`vocab` and `merges` must be both"),
        ("roberta", {}, ["merges.txt"], "cannot be read as a model .*`vocab` and `merges` must be both"),
    ],
)
def test_a_folder_without_tokenizer_files_is_refused(tmp_path, family, config, files, said):
    folder = folder_of(tmp_path / "m", family, **config)
    for file in files:
        (folder / file).write_text("{}" if file.endswith("json") else "")
    with pytest.raises(ModelError, match=said) as error:
        load(folder)
    assert "\n" not in str(error.value)


def test_files_of_older_tokenizers_load(tmp_path):
    folder = folder_of(tmp_path / "gpt2", "gpt2")
    TRAINED["gpt2"].model.save(str(folder))
    tokenizer, said = loaded_and_said(folder)
    for text in (TEXTS[0], TEXTS[2]):
        assert tokenizer(text)["input_ids"] == TRAINED["gpt2"].encode(text).ids
    folder = folder_of(tmp_path / "bert", "bert", do_lower_case=False)
    cased_bert().model.save(str(folder))
    tokenizer, more = loaded_and_said(folder)
    assert tokenizer("The river")["input_ids"] == [2, 5, 8, 3]
    assert said == more == []
    check_tokenizer(tokenizer, 97, "tiny")


def replaced(times: int, pattern: dict[str, str], content: str) -> dict:
    step = {"type": "Replace", "pattern": pattern, "content": content}
    return {"normalizer": {"type": "Sequence", "normalizers": [step] * times}}


SPLIT = {"type": "Split", "behavior": "Isolated", "invert": False}
SMALL = {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]}
HOSTILE = {
    "grows": (replaced(9, {"String": "e"}, "e" * 10), r"its normalizer makes \d,\d+ characters of '"),
    "grows on a word of its own": (replaced(9, {"String": "qzj"}, "qzj" * 10), "its normalizer makes"),
    "grows by a pattern": (replaced(9, {"Regex": "."}, "x" * 8), "its normalizer makes"),
    "grows between characters": (replaced(20, {"Regex": ""}, "xx"), "its normalizer makes"),
    "grows on a character": (replaced(3, {"String": "ꙮ"}, "ꙮ" * 100), "its normalizer makes"),
    "puts much in front": ({"normalizer": {"type": "Prepend", "prepend": "x" * 9999}}, "its normalizer makes"),
    "repeats the text": (
        {
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [{"Sequence": {"id": "A", "type_id": 0}}] * 3000,
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {},
            }
        },
        "it makes 3,000 tokens of 'a'",
    ),
    "panics on a text": ({"pre_tokenizer": SPLIT | {"pattern": {"Regex": "(a+)+$"}}}, "PanicException: Onig"),
    "panics on load": ({"model": SMALL | {"continuing_subword_prefix": "####"}}, "PanicException: range end"),
    "aborts": (
        {
            "model": SMALL
            | {"vocab": {"a": 0, "é": 1, "aé": 2}, "merges": [["a", "é"]], "continuing_subword_prefix": "#"}
        },
        "the tokenizers library aborts on it, or takes more than",
    ),
    "negative id": ({"model": SMALL | {"vocab": {"a": -1}}}, "invalid value: integer `-1`"),
    "id beyond all bounds": ({"model": SMALL | {"vocab": {"a": 1 << 40}}}, "invalid value: integer"),
    "no model": ({"model": None}, "the tokenizers library fails on it"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_tokenizer_is_one_clear_error(tmp_path, capfd, kind):
    change, said = HOSTILE[kind]
    folder = folder_of(tmp_path / "m", "llama", word_tokenizer().backend_tokenizer)
    content = json.loads((folder / "tokenizer.json").read_text())
    if "model" in change:
        content["added_tokens"] = []
    (folder / "tokenizer.json").write_text(json.dumps(content | change))
    with pytest.raises(ModelError, match=said) as error:
        load(folder)
    assert str(error.value).startswith("tiny: tokenizer.json cannot be used: ")
    assert str(error.value).endswith("; fetch it again")
    assert "\n" not in str(error.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("content", [b"", b"{", b"\0\1", b"[]", b'{"model":' + b"[" * 9999])
def test_a_damaged_tokenizer_is_one_clear_error(tmp_path, content):
    folder = folder_of(tmp_path / "m", "llama")
    (folder / "tokenizer.json").write_bytes(content)
    with pytest.raises(
        ModelError, match=r"tiny: tokenizer\.json cannot be used: the tokenizers library fails on it"
    ) as error:
        load(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_no_regular_file_is_not_opened(tmp_path, make):
    folder = folder_of(tmp_path / "m", "llama")
    make(folder / "tokenizer.json")
    with pytest.raises(ModelError, match=r"tiny: tokenizer\.json is not a regular file; fetch it again"):
        load(folder)


def test_a_trial_that_takes_too_long_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_TRIAL_SECONDS", 0.01)
    monkeypatch.setattr(module, "_passed", set())
    with pytest.raises(ModelError, match=r"takes more than 1\.0 GiB or 0\.01 seconds; fetch it again"):
        load(folder_of(tmp_path / "m", "llama", TRAINED["gpt2"]))


def test_one_content_is_tried_once(tmp_path, monkeypatch):
    load(folder_of(tmp_path / "m", "llama", TRAINED["gpt2"]))
    monkeypatch.setattr(module.subprocess, "run", None)
    load(folder_of(tmp_path / "n", "llama", TRAINED["gpt2"]))


def test_ordinary_tokenizers_pass_the_trial(tmp_path, monkeypatch):
    monkeypatch.setattr("layerscope.models.tokenizer_trial._limit", lambda size: None)  # which would hold for the tests
    everything = normalizers.Sequence(
        [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Replace(" ", "▁")]
    )
    backend = Tokenizer.from_str(TRAINED["gpt2"].to_str())
    backend.normalizer = everything
    for each in (*TRAINED.values(), cased_bert(), backend, word_tokenizer().backend_tokenizer):
        each.save(str(tmp_path / "tokenizer.json"))
        assert trial(str(tmp_path / "tokenizer.json")) == ""


def words(count: int, **options) -> transformers.PreTrainedTokenizerFast:
    backend = Tokenizer(models.WordLevel({f"w{n}": n for n in range(count)}, unk_token="w0"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **options)


@pytest.mark.parametrize(
    ("tokenizer", "said"),
    [
        (words(98), r"tiny: the tokenizer gives the id 97 \('w97'\), and the model's embedding has 97 rows"),
        (words(0, unk_token="<unk>", eos_token="</s>"), "tiny: the tokenizer's vocabulary is empty"),
    ],
)
def test_a_tokenizer_that_does_not_fit_the_model_is_refused(tokenizer, said):
    with pytest.raises(ModelError, match=said):
        wrap_module(tiny_module("llama"), tokenizer, name="tiny")


def test_a_tokenizer_that_knows_no_text_is_refused():
    backend = Tokenizer(models.WordLevel({"[UNK]": 0, "two words": 1}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")
    with pytest.raises(ModelError, match="gives only unknown tokens"):
        check_tokenizer(tokenizer, 97, "tiny")


def test_an_added_token_beyond_the_embedding_is_refused_unless_special():
    tokenizer = words(97)
    tokenizer.add_tokens(["<more>"])
    with pytest.raises(ModelError, match=r"gives the id 97 \('<more>'\)"):
        wrap_module(tiny_module("llama"), tokenizer, name="tiny")


def test_a_special_token_around_every_text_is_below_the_rows():
    tokenizer = words(97, bos_token="<s>")
    template = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 97)])
    tokenizer.backend_tokenizer.post_processor = template
    with pytest.raises(ModelError, match=r"gives the id 97 \('<s>'\)"):
        wrap_module(tiny_module("llama"), tokenizer, name="tiny")


def test_a_text_that_spells_a_special_token_beyond_the_embedding_is_refused(tmp_path):
    """As published: a decoder for text alone, with a token for images that its embedding has no row for."""
    model = wrap_module(tiny_module("llama"), words(97, additional_special_tokens=["<image>"]), name="tiny")
    ls.capture(model, ["w5 w6"], tmp_path / "a.h5")
    with pytest.raises(TextsError, match=r"the text '1' has the token '<image>' \(id 97\), and .* has 97 rows: leave"):
        ls.capture(model, ["w5 w6", "w5 <image>"], tmp_path / "b.h5")
    with pytest.raises(ModelError, match=r"tiny: the tokenizer gave the id 97, and the model's embedding has 97 rows"):
        model.inputs(*(2 * [model.tokenizer("w5 <image>", return_tensors="pt")["input_ids"]]))


def test_a_tokenizer_that_is_changed_after_the_load_is_refused(tmp_path):
    tokenizer = words(97)
    model = wrap_module(tiny_module("llama"), tokenizer, name="tiny")
    tokenizer.add_tokens(["new"])
    with pytest.raises(TextsError, match=r"the text '0' has the token 'new' \(id 97\)"):
        ls.capture(model, ["w1 new"], tmp_path / "a.h5")


@pytest.mark.real
def test_real_tokenizers_are_proved(minilm):
    assert minilm.tokenizer("The River")["input_ids"] == [101, 1996, 2314, 102]
