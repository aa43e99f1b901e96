"""Try a ``tokenizer.json`` in a separate process, within bounds of memory, time and growth.

The library that reads the file is native code. A damaged or hostile file can make it allocate without end, panic or abort, which
the calling process cannot catch. So `layerscope.models.tokenizer` runs this file as a script first. The script exits with 0 if
the tokenizer works; otherwise it prints the reason in one line.

This module imports nothing of LayerScope, so that it starts in a few hundredths of a second.
"""

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

from tokenizers import Tokenizer
from tokenizers.normalizers import Sequence

__all__ = ["AWKWARD_TEXTS", "main", "memory_limit"]

AWKWARD_TEXTS = (
    "",
    " ",
    "a",
    "the river rose",
    "The River ROSE, İstanbul Straße ǅ",
    "a  2",
    "two  spaces,   three,    four",
    " leading",
    "   leading",
    "trailing ",
    "trailing   ",
    "in 2023\n\nit was 1,234,567.89 or 12345678901234567890",
    "0 00 000 0000 1st 2nd ١٢٣ ½ x² ⅷ",
    "a\nb\n\nc\n\n\nd \n e\n   f",
    "a\r\nb\r\n\r\nc\rd",
    "\ttab\t\ttabs \t mixed\v\f",
    "I'm we'll they've he'd it's can't DON'T I’m 'tis rock'n'roll 's",
    "café naïve Ångström",
    "cafe\u0301 nai\u0308ve A\u030angstro\u0308m",
    "e\u0301\u0323\u0308 \u0301",
    "ﬁne ﬀ ① ㎏ Ａｂｃ １２ ﷺ",
    "河水上涨了。今天是2023年！",
    "川が増水した、カタカナ ｶﾀｶﾅ がぎ か\u3099",
    "한국어 \u1112\u1161\u11ab\u1100\u1173\u11af",
    "النهر مُرْتَفِع، ٢٠٢٣",
    "שָׁלוֹם नमस्ते แม่น้ำ பேருந்து",
    "Река поднялась, ёлка",
    "👩\u200d👩\u200d👧\u200d👦 👍🏽 🇩🇪 ☃\ufe0f 😀😀",
    "𝔘𝔫𝔦 𐍈 𠜎",
    "def f(x):\n    if x != 0x1F:\n\t\treturn {'a': [x**2, ...]}  # ok\n",
    "<b>x</b> &amp; https://ex.am/p?l=e#1 a_b-c.d@e.f C:\\dir\\*.py $1 50% ~ ^",
    '"quotes" “quotes” «quotes» — – - … !!! ?? ;; (((()))) [[x]]',
    "\x00 \x01\x07\x1b[0m \x7f \x85 \xad soft\xadhyphen",
    "\u00a0\u2003\u3000 \u200b\u200e\u202e\ufeff\ufffd",
    "▁ Ġ ## ##ing </w> @@ Ċ",
    "<s> </s> <unk> <pad> [CLS] [SEP] [UNK] <|endoftext|>",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!",
    "0000000000000000000000000000000000000000000000000000000000000000x",
    "                                                                a",
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
)
"""Texts on which tokenizers differ: white space, digits, casing, accents, scripts, emoji, code, control characters."""

_GROWTH = 64  # characters or tokens for one character of text; the most that Unicode's own forms need is 18
_ROOM = 1024  # further characters or tokens, for those added around every text
_PIECE = 16  # characters of a text that tries Unicode; short, so that one growing character shows
_PLANES = (*range(0xD800), *range(0xE000, 0x10000), *range(0x1F000, 0x1FB00))  # the basic plane, and emoji
_CPU_SECONDS = 60


def memory_limit(size: int) -> int:
    """Return the address space in bytes allowed for a ``tokenizer.json`` of `size` bytes."""
    return (1 << 30) + 40 * size


def main(path: str) -> str:
    """Load and run the tokenizer of `path`; return why it cannot be used, or an empty string."""
    _limit(os.path.getsize(path))
    try:
        tokenizer = Tokenizer.from_file(path)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        texts = [*AWKWARD_TEXTS, *_literals(path), *_characters()]
        return _grows(tokenizer, texts)
    except BaseException as error:  # a panic of the library is not an Exception
        said = " ".join(str(error).split())[:160]
        return f"the tokenizers library fails on it ({type(error).__name__}: {said})"


def _limit(size: int) -> None:
    try:
        import resource
    except ImportError:  # on Windows only the time limit of the caller applies
        return
    resource.setrlimit(resource.RLIMIT_AS, (memory_limit(size),) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _characters() -> Iterator[str]:
    for start in range(0, len(_PLANES), _PIECE):
        yield "".join(map(chr, _PLANES[start : start + _PIECE]))


def _literals(path: str) -> Iterator[str]:
    """Yield the texts that the file searches for, single and repeated."""
    with open(path, encoding="utf-8") as file:
        content = json.load(file)
    for text in _strings([content.get(part) for part in ("normalizer", "pre_tokenizer")]):
        yield text[:_ROOM]
        yield (text[:_PIECE] + " ") * 4


def _strings(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("pattern"), dict):
            yield from (text for text in part["pattern"].values() if isinstance(text, str))
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from _strings(each)


def _grows(tokenizer: Tokenizer, texts: list[str]) -> str:
    """Return on which text the output grows beyond bounds, checked after each step of the normalizer."""
    steps = list(_steps(tokenizer.normalizer))
    for text in texts:
        allowed, grown = _GROWTH * len(text) + _ROOM, text
        for step in steps:
            grown = step.normalize_str(grown)
            if len(grown) > allowed:
                return f"its normalizer makes {len(grown):,} characters of {text[:_PIECE]!r}"
        made = _tokens(tokenizer, text)
        if made > allowed:
            return f"it makes {made:,} tokens of {text[:_PIECE]!r}"
    return ""


def _steps(normalizer: Any) -> Iterator[Any]:
    parts: Any = normalizer
    if isinstance(normalizer, Sequence):
        for part in parts:
            yield from _steps(part)
    elif normalizer is not None:
        yield normalizer


def _tokens(tokenizer: Tokenizer, text: str) -> int:
    try:
        return len(tokenizer.encode(text).ids)
    except Exception:  # such as a word that the vocabulary lacks: an error of that text, not of the tokenizer
        return 0


if __name__ == "__main__":
    reason = main(sys.argv[1])
    print(reason.encode("ascii", "backslashreplace").decode())
    sys.exit(bool(reason))
