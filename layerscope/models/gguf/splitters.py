"""How texts are split before byte-level BPE: the splitter for each value of ``tokenizer.ggml.pre``.

Data, and the functions that build it. The patterns are those of the published ``tokenizer.json`` of each model; the names are
llama.cpp's. A file with any other name is refused.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tokenizers import Regex, normalizers, pre_tokenizers

__all__ = ["SPLITTERS", "Splitter", "normalizer", "pre_tokenizer"]


@dataclass(frozen=True)
class Splitter:
    """What a tokenizer does before it merges.

    Attributes
    ----------
    steps
        Steps in order: a pattern whose matches become pieces, or the name of a splitter of the tokenizers library.
    nfc
        Whether texts are normalised to NFC first.
    whole
        Whether a piece that is a token is used unchanged, without merges.
    begins
        Whether texts start with the begin token if the file does not specify it.
    """

    steps: tuple[str, ...]
    nfc: bool = False
    whole: bool = False
    begins: bool = False


_EACH_DIGIT, _DIGITS, _PUNCTUATION, _GPT2, _BYTES = "each digit", "digits", "punctuation", "GPT-2", "bytes"

_NAMED: dict[str, Callable[[], pre_tokenizers.PreTokenizer]] = {
    _EACH_DIGIT: lambda: pre_tokenizers.Digits(individual_digits=True),
    _DIGITS: lambda: pre_tokenizers.Digits(individual_digits=False),
    _PUNCTUATION: lambda: pre_tokenizers.Punctuation(behavior="contiguous"),
    _GPT2: lambda: pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    _BYTES: lambda: pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
}

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_END = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|" + _END
_QWEN2 = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|" + _END
_TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_DEEPSEEK3 = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_GPT2_TEXT = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_BLOOM = r" ?[^(\s|.,!?…。，、।۔،)]+"
_CHINESE = "[一-龥ࠀ-一가-\ud7ff]+"

_OF_GPT2 = Splitter((_GPT2,))
_OF_NEOX = Splitter((_GPT2,), nfc=True)
_OF_LLAMA3 = Splitter((_LLAMA3, _BYTES), whole=True, begins=True)
_OF_STARCODER = Splitter((_EACH_DIGIT, _GPT2))

SPLITTERS = {
    "gpt-2": _OF_GPT2,
    "phi-2": _OF_GPT2,
    "mpt": _OF_NEOX,
    "olmo": _OF_NEOX,
    "smollm": _OF_STARCODER,
    "starcoder": _OF_STARCODER,
    "refact": _OF_STARCODER,
    "llama-bpe": _OF_LLAMA3,
    "llama3": _OF_LLAMA3,
    "llama-v3": _OF_LLAMA3,
    "qwen2": Splitter((_QWEN2, _BYTES), nfc=True),
    "tekken": Splitter((_TEKKEN, _BYTES), whole=True, begins=True),
    "falcon": Splitter((_PUNCTUATION, _GPT2, _DIGITS, "[0-9][0-9][0-9]")),
    "bloom": Splitter((_BLOOM, _BYTES)),
    "deepseek-coder": Splitter(("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _CHINESE, _EACH_DIGIT, _BYTES)),
    "deepseek-v3": Splitter((r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+", _DEEPSEEK3, _BYTES)),
    "default": Splitter((r"[\p{P}\$\+<=>\^~\|]+", _GPT2_TEXT, _DIGITS, "[0-9][0-9][0-9]", _BYTES)),
}


def pre_tokenizer(splitter: Splitter) -> pre_tokenizers.PreTokenizer:
    """Build the steps of a splitter.

    Examples
    --------
    >>> pieces = pre_tokenizer(SPLITTERS["smollm"]).pre_tokenize_str("a  23")
    >>> [piece for piece, _ in pieces]
    ['a', 'ĠĠ', '2', '3']
    """
    steps = [_NAMED[step]() if step in _NAMED else _apart(step) for step in splitter.steps]
    return steps[0] if len(steps) == 1 else pre_tokenizers.Sequence(steps)


def normalizer(splitter: Splitter) -> normalizers.Normalizer | None:
    """Build the normalizer of a splitter; None without one."""
    return normalizers.NFC() if splitter.nfc else None


def _apart(pattern: str) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(Regex(pattern), behavior="isolated")
