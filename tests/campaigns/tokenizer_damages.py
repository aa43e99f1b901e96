"""Hostile tokenizers: changes of an intact ``tokenizer.json``."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.campaigns.folder_damages import Case, edit

Content = dict[str, Any]


def _pieces(**changes: Any) -> Content:
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None}
    model |= {"end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False}
    model |= {"vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]} | changes
    return {"model": model, "added_tokens": [], "pre_tokenizer": None}


def _added(identity: int) -> Content:
    token = {"id": identity, "content": "<x>", "single_word": False, "lstrip": False, "rstrip": False}
    return {"added_tokens": [token | {"normalized": False, "special": True}]}


def _replacing(times: int, pattern: dict[str, str], content: str) -> Content:
    one = {"type": "Replace", "pattern": pattern, "content": content}
    return {"normalizer": {"type": "Sequence", "normalizers": [one] * times}}


def _split(pattern: str) -> Content:
    return {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}}


def _charsmap(content: str) -> Content:
    return {"normalizer": {"type": "Precompiled", "precompiled_charsmap": content}}


_SEQUENCE = {"Sequence": {"id": "A", "type_id": 0}}

CHANGES: dict[str, Content] = {
    "doubles 28 times": _replacing(28, {"String": "a"}, "aa"),
    "tenfold 9 times": _replacing(9, {"String": "a"}, "a" * 10),
    "rare letters tenfold": _replacing(9, {"String": "qzj"}, "qzj" * 10),
    "every character": _replacing(9, {"Regex": "."}, "xxxxxxxx"),
    "between characters": _replacing(20, {"Regex": ""}, "xx"),
    "prepends millions": {"normalizer": {"type": "Prepend", "prepend": "x" * 5_000_000}},
    "backtracking": _split("(a+)+$"),
    "backtracking on words": _split(r"(\w+\s?)*$"),
    "no regular expression": _split("(("),
    "prefix that aborts": _pieces(vocab={"a": 0, "é": 1, "aé": 2}, merges=[["a", "é"]], continuing_subword_prefix="#"),
    "prefix that panics": _pieces(continuing_subword_prefix="####"),
    "charsmap that panics": _charsmap("AAAAAA=="),
    "charsmap too short": _charsmap("AAAA"),
    "charsmap cut": _charsmap("BAAAAP////8AAA=="),
    "negative id": _pieces(vocab={"a": -1}),
    "highest id": _pieces(vocab={"a": 2**32 - 1}, merges=[]),
    "id too large": _pieces(vocab={"a": 2**40}, merges=[]),
    "id beyond the embedding": _pieces(vocab={"a": 0, "b": 50, "ab": 97}),
    "one id for all": _pieces(vocab={"a": 0, "b": 0, "ab": 0}),
    "empty vocabulary": _pieces(vocab={}, merges=[]),
    "merge of nothing": _pieces(merges=[["x", "y"]]),
    "no model": {"model": None},
    "unknown model": {"model": {"type": "Nonsense"}},
    "long template": {
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [_SEQUENCE] * 5000,
            "pair": [_SEQUENCE, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {},
        }
    },
    "truncation to nothing": {
        "truncation": {"direction": "Right", "max_length": 0, "strategy": "LongestFirst", "stride": 5}
    },
    "added token of a huge id": _added(4_000_000_000),
    "added token beyond the embedding": _added(97),
    "version 9": {"version": "9.0"},
}


def _update(content: Content, tokenizer: Content) -> None:
    tokenizer.update(content)


def _rewritten(text: Callable[[str], str], folder: Path) -> None:
    path = folder / "tokenizer.json"
    path.write_text(text(path.read_text()))


CASES = {
    f"tokenizer: {what}": Case("tokenizers", "llama", partial(edit, "tokenizer.json", partial(_update, content)))
    for what, content in CHANGES.items()
} | {
    "tokenizer: cut in half": Case("tokenizers", "llama", partial(_rewritten, lambda text: text[: len(text) // 2])),
    "tokenizer: twice": Case("tokenizers", "llama", partial(_rewritten, lambda text: text * 2)),
    "tokenizer: long number": Case(
        "tokenizers", "llama", partial(_rewritten, lambda text: text.replace(json.dumps(96), "9" * 5000))
    ),
}
