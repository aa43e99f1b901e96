"""Build the tokenizer that the keys of a GGUF file describe, equal to the published one.

Two kinds are supported: byte-level BPE (``gpt2``), split as in `layerscope.models.gguf.splitters`, and SentencePiece BPE with
byte fallback (``llama``). Independent of model families.
"""

import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors

from layerscope.errors import ModelError
from layerscope.models.gguf.file import GGUFFile, count_and_name
from layerscope.models.gguf.splitters import SPLITTERS, normalizer, pre_tokenizer

__all__ = ["build_tokenizer", "special_ids"]

_SPACE = "▁"


class _Kind(IntEnum):
    """``tokenizer.ggml.token_type``."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class _Tokens:
    """The tokens in the order of their ids, with their kinds."""

    texts: list[str]
    kinds: list[int]

    @property
    def ids(self) -> dict[str, int]:
        return {text: number for number, text in enumerate(self.texts)}

    def of(self, *kinds: _Kind) -> list[str]:
        return [text for text, kind in zip(self.texts, self.kinds, strict=True) if kind in kinds]


def build_tokenizer(file: GGUFFile) -> transformers.PreTrainedTokenizerBase:
    """Build the tokenizer of a file.

    Raises
    ------
    ModelError
        The kind of tokenizer or its splitter is unknown, a key is missing, or the tokens contradict each other.
    """
    kind = file.get("tokenizer.ggml.model")
    if kind not in _KINDS:
        raise ModelError(f"{file.path}: tokenizer.ggml.model = {kind!r} is unknown (known: {', '.join(_KINDS)})")
    tokens = _tokens(file, kind)
    tokenizer, begins = _KINDS[kind](file, tokens)
    special = {name: tokens.texts[number] for name, number in special_ids(file).items()}
    _add_ends(file, tokenizer, special, begins)
    tokenizer.add_special_tokens(_added(tokens.of(_Kind.UNKNOWN, _Kind.CONTROL), special=True))
    tokenizer.add_tokens(_added(tokens.of(_Kind.USER_DEFINED), special=False))
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **special
    )
    wrapped.chat_template = file.get("tokenizer.chat_template", None)
    return wrapped


def special_ids(file: GGUFFile) -> dict[str, int]:
    """Return the ids of the begin, end, padding and unknown tokens that the file names.

    Raises
    ------
    ModelError
        An id is beyond the tokens.
    """
    count = len(file.get("tokenizer.ggml.tokens"))
    older = _SENTENCEPIECE_IDS if file.get("tokenizer.ggml.model") == "llama" else {}
    found = {}
    for name, key in _SPECIAL.items():
        number = file.get(key, older.get(name))
        if number is not None and not 0 <= number < count:
            raise ModelError(f"{file.path}: {key} = {number} is beyond the {count} tokens of the file")
        if number is not None:
            found[name] = int(number)
    return found


_SPECIAL = {
    "bos_token": "tokenizer.ggml.bos_token_id",
    "eos_token": "tokenizer.ggml.eos_token_id",
    "unk_token": "tokenizer.ggml.unknown_token_id",
    "pad_token": "tokenizer.ggml.padding_token_id",
}
# The defaults of llama.cpp for SentencePiece files.
_SENTENCEPIECE_IDS = {"unk_token": 0, "bos_token": 1, "eos_token": 2}


def _tokens(file: GGUFFile, kind: str) -> _Tokens:
    texts = [text or f"[EMPTY_{number}]" for number, text in enumerate(file.get("tokenizer.ggml.tokens"))]
    if kind == "llama":  # the file has runs of spaces; the vocabulary has ▁
        texts = [text if text.strip(" ") else _SPACE * len(text) for text in texts]
    kinds = file.get("tokenizer.ggml.token_type", [int(_Kind.NORMAL)] * len(texts))
    if len(kinds) != len(texts):
        raise ModelError(f"{file.path}: tokenizer.ggml.token_type has {len(kinds)} of {len(texts)} tokens")
    if repeated := [text for text, count in Counter(texts).items() if count > 1]:
        raise ModelError(
            f"{file.path}: tokenizer.ggml.tokens: {count_and_name(map(repr, repeated), 'token', 'more than once')}"
        )
    return _Tokens(texts, list(kinds))


def _added(texts: list[str], *, special: bool) -> list[AddedToken]:
    return [AddedToken(text, normalized=False, special=special) for text in texts]


def _byte_level(file: GGUFFile, tokens: _Tokens) -> tuple[Tokenizer, bool]:
    """Build byte-level BPE; return the tokenizer, and whether texts start with the begin token by default."""
    pre = file.get("tokenizer.ggml.pre", None)
    splitter = SPLITTERS.get(pre or _UNSAID)
    if splitter is None:
        raise ModelError(
            f"{file.path}: tokenizer.ggml.pre = {pre!r} is an unknown splitter, so texts would be split wrongly "
            f"(known: {', '.join(SPLITTERS)})"
        )
    if file.get("tokenizer.ggml.add_space_prefix", False):
        raise ModelError(f"{file.path}: tokenizer.ggml.add_space_prefix = True is not supported for byte-level tokens")
    file.get("tokenizer.ggml.scores", None)  # merges are ordered by their list, not by scores
    merges = [tuple(merge.split(" ", 1)) for merge in file.get("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE(vocab=tokens.ids, merges=merges, ignore_merges=splitter.whole))
    if splitter.nfc:
        tokenizer.normalizer = normalizer(splitter)
    tokenizer.pre_tokenizer = pre_tokenizer(splitter)
    tokenizer.decoder = decoders.ByteLevel()
    if pre is None and _splitter_matters(tokenizer):
        said = "has no key tokenizer.ggml.pre: texts are split as for GPT-2, which may be wrong for this model"
        warnings.warn(f"{file.path.name} {said}", stacklevel=2)
    return tokenizer, splitter.begins


_UNSAID = "gpt-2"  # the default of the format
_TELLING = [
    "a  2",
    "2023",
    " 12",
    "x\n\n7",
    "I'LL",
    " ½",
    "東京2024年",
    "x == 1",
    "!!!\n\n",
    "aB",
    "_x",
    "\t\ty",
    "e\u0301a",
]


def _splitter_matters(tokenizer: Tokenizer) -> bool:
    """Return whether splitters give different tokens for a few texts on which they are known to differ."""
    other = Tokenizer(tokenizer.model)
    found = set()
    for splitter in SPLITTERS.values():
        other.pre_tokenizer = pre_tokenizer(splitter)
        found.add(tuple(tuple(each.ids) for each in other.encode_batch(_TELLING)))
    return len(found) > 1


def _sentencepiece(file: GGUFFile, tokens: _Tokens) -> tuple[Tokenizer, bool]:
    """Build SentencePiece BPE with byte fallback; returns as `_byte_level` does."""
    if (pre := file.get("tokenizer.ggml.pre", "default")) != "default":
        raise ModelError(f"{file.path}: tokenizer.ggml.pre = {pre!r} is not supported for SentencePiece tokens")
    unknown = tokens.texts[special_ids(file)["unk_token"]]
    pairs = models.BPE(
        vocab=tokens.ids, merges=_merges(file, tokens), unk_token=unknown, fuse_unk=True, byte_fallback=True
    )
    tokenizer = Tokenizer(pairs)
    spaced = normalizers.Replace(" ", _SPACE)
    spoken: list[decoders.Decoder] = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if file.get("tokenizer.ggml.add_space_prefix", True):
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(_SPACE), spaced])
        spoken.append(decoders.Strip(" ", 1, 0))
    else:
        tokenizer.normalizer = spaced
    tokenizer.decoder = decoders.Sequence(spoken)
    return tokenizer, True


def _merges(file: GGUFFile, tokens: _Tokens) -> list[tuple[str, str]]:
    """Return the merges of a SentencePiece vocabulary in their order.

    The file may list them. Otherwise every split of a token into two others is a merge: of user-defined tokens first, in the
    order of the file, as SentencePiece extracts them from the text beforehand; then of the others by their scores.
    """
    listed = file.get("tokenizer.ggml.merges", None)
    scores = file.get("tokenizer.ggml.scores", None)
    if listed is not None:
        return [tuple(merge.split(" ", 1)) for merge in listed]
    if scores is None or len(scores) != len(tokens.texts):
        raise ModelError(f"{file.path}: tokenizer.ggml.scores has no score for every token, and there are no merges")
    ids = tokens.ids
    found = []
    for number, (text, kind) in enumerate(zip(tokens.texts, tokens.kinds, strict=True)):
        if kind in (_Kind.NORMAL, _Kind.USER_DEFINED):
            rank = (0, number) if kind == _Kind.USER_DEFINED else (1, -scores[number])
            found += [(rank, left, right) for left, right in _halves(text, ids)]
    found.sort(key=lambda pair: (pair[0], len(pair[1]), len(pair[2])))
    return [(left, right) for _, left, right in found]


def _halves(text: str, ids: dict[str, int]) -> Iterator[tuple[str, str]]:
    for cut in range(1, len(text)):
        if (left := text[:cut]) in ids and (right := text[cut:]) in ids:
            yield left, right


_KINDS = {"gpt2": _byte_level, "llama": _sentencepiece}


def _add_ends(file: GGUFFile, tokenizer: Tokenizer, special: dict[str, str], begins: bool) -> None:
    """Add the begin and end tokens of the file to every text."""
    begin = _end(file, "tokenizer.ggml.add_bos_token", special.get("bos_token"), begins)
    end = _end(file, "tokenizer.ggml.add_eos_token", special.get("eos_token"), False)
    if not begin and not end:
        return
    single = [*begin, "$A", *end]
    pair = [*single, *(f"{part}:1" for part in (*begin, "$B", *end))]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[(text, tokenizer.token_to_id(text)) for text in {*begin, *end}]
    )


def _end(file: GGUFFile, key: str, token: Any, default: bool) -> list[str]:
    if not file.get(key, default):
        return []
    if token is None:
        raise ModelError(f"{file.path}: {key} requires a token that the file does not name")
    return [token]
