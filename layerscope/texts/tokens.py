"""Texts into token ids, in a stream, exactly as the tokenizer itself would do it.

Special tokens that the tokenizer adds stay, where they stay under its own truncation too. Knows no model: the greatest
length is a number it is given.
"""

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int32
from transformers import PreTrainedTokenizerBase

from layerscope.errors import TextsError, UsageError, at_least
from layerscope.texts.records import Text

__all__ = ["TokenStream", "TokenizedSequence", "tokenize"]

_TEXTS_A_CALL = 256  # enough for a fast tokenizer to use every core, few enough to stay small


class TokenizedSequence(NamedTuple):
    """The tokens of one text.

    Attributes
    ----------
    id
        The text's id.
    token_ids
        int32, ``[token]``; never empty.
    truncated
        Whether the text was longer than the greatest length.
    spans
        Where each token's characters begin and end in the text, ``[token, 2]``; both equal for a token without characters.
        None unless asked for.
    text_hash
        Of the text, to tell it from another of the same id; 0 without spans.
    """

    id: str
    token_ids: Int32[np.ndarray, " token"]
    truncated: bool
    spans: Int32[np.ndarray, "token 2"] | None = None
    text_hash: int = 0


class _Encoded(NamedTuple):
    """What the tokenizer makes of one text: ids, and the characters of each where they were asked for."""

    ids: list[int]
    offsets: list[tuple[int, int]] | None


class TokenStream(Iterator[TokenizedSequence]):
    """Tokenized sequences in the order of their texts, made as they are asked for; made by `tokenize`.

    Attributes
    ----------
    truncated
        Sequences cut so far.
    skipped
        Texts left out so far because the tokenizer made no token of them.
    """

    def __init__(
        self, texts: Iterable[Text], tokenizer: PreTrainedTokenizerBase, max_length: int | None, spans: bool = False
    ) -> None:
        self.truncated = 0
        self.skipped = 0
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._spans = spans
        self._sequences = self._tokenized(iter(texts))

    def __next__(self) -> TokenizedSequence:
        return next(self._sequences)

    def _tokenized(self, texts: Iterator[Text]) -> Iterator[TokenizedSequence]:
        while chunk := list(islice(texts, _TEXTS_A_CALL)):
            for text, (encoded, cut) in zip(chunk, self._encoded(chunk), strict=True):
                if not encoded.ids:
                    self.skipped += 1
                    continue
                self.truncated += cut
                ids = np.array(encoded.ids, dtype=np.int32)
                if encoded.offsets is None:
                    yield TokenizedSequence(text.id, ids, cut)
                else:
                    spans = np.array(encoded.offsets, dtype=np.int32)
                    yield TokenizedSequence(text.id, ids, cut, spans, _hash(text.text))

    def _encoded(self, texts: list[Text]) -> list[tuple[_Encoded, bool]]:
        """Return the tokens of each text and whether they were cut."""
        whole = _encode(self._tokenizer, texts, self._spans, truncation=False)
        limit = self._max_length
        if limit is None:
            return [(encoded, False) for encoded in whole]
        # Only the tokenizer knows which tokens its truncation keeps (special ones at either end), but asked to truncate
        # it does not say whether it did. So those that are too long, and no others, are given to it again.
        too_long = [text for text, encoded in zip(texts, whole, strict=True) if len(encoded.ids) > limit]
        cut = iter(
            _encode(self._tokenizer, too_long, self._spans, truncation=True, max_length=limit) if too_long else []
        )
        return [(next(cut), True) if len(encoded.ids) > limit else (encoded, False) for encoded in whole]


def tokenize(
    texts: Iterable[Text], tokenizer: PreTrainedTokenizerBase, max_length: int | None, *, spans: bool = False
) -> TokenStream:
    """Tokenize texts in a stream.

    A text longer than `max_length` tokens, special ones included, is cut as the tokenizer itself cuts: special tokens
    stay, and the text loses its end (its beginning, if the tokenizer's ``truncation_side`` is ``left``).

    Parameters
    ----------
    texts
        In the order wanted; read a few hundred at a time.
    tokenizer
        A Hugging Face tokenizer, used with its own defaults; what padding or truncation it has stored is not applied.
    max_length
        The most tokens a sequence may have; None for no limit.
    spans
        Whether to say which characters of its text each token stands for. Special tokens stand for none.

    Returns
    -------
    TokenStream
        An iterator of `TokenizedSequence` that counts what it cut and what gave no token.

    Raises
    ------
    UsageError
        A `max_length` below 1, or too small for the special tokens alone.
    TextsError
        `spans` of a tokenizer that does not know them: one that is not "fast".

    Examples
    --------
    >>> from tokenizers import Tokenizer, models, pre_tokenizers
    >>> from transformers import PreTrainedTokenizerFast
    >>> words = Tokenizer(models.WordLevel({"?": 0, "so": 1, "it": 2, "goes": 3}, unk_token="?"))
    >>> words.pre_tokenizer = pre_tokenizers.Whitespace()
    >>> stream = tokenize([Text("a", "so it goes")], PreTrainedTokenizerFast(tokenizer_object=words), max_length=2)
    >>> [sequence.token_ids.tolist() for sequence in stream], stream.truncated
    ([[1, 2]], 1)
    """
    at_least(1, max_length=max_length)
    if max_length is not None:
        special = tokenizer.num_special_tokens_to_add()
        if max_length < special:
            raise UsageError(
                f"max_length {max_length}: the tokenizer adds {special} special tokens to each text; give at least {special}"
            )
    if spans and not tokenizer.is_fast:
        raise TextsError(
            f"the tokenizer ({type(tokenizer).__name__}) does not say which characters a token stands for: "
            "only fast tokenizers do; leave --spans out"
        )
    return TokenStream(texts, tokenizer, max_length, spans)


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)


def _encode(tokenizer: PreTrainedTokenizerBase, texts: list[Text], spans: bool, **truncation: Any) -> list[_Encoded]:
    # verbose=False: the library would warn of sequences beyond its own limit, which is not the one that holds here.
    encoded = tokenizer(
        [text.text for text in texts],
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        return_offsets_mapping=spans,
        verbose=False,
        **truncation,
    )
    offsets = encoded["offset_mapping"] if spans else [None] * len(texts)
    return [_Encoded(*each) for each in zip(encoded["input_ids"], offsets, strict=True)]
