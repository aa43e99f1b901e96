"""Texts into token ids, in a stream, exactly as the tokenizer itself would do it.

Special tokens that the tokenizer adds stay, where they stay under its own truncation too. Knows no model: the greatest
length is a number it is given.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int32
from transformers import PreTrainedTokenizerBase

from layerscope.errors import UsageError
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
    """

    id: str
    token_ids: Int32[np.ndarray, " token"]
    truncated: bool


class TokenStream(Iterator[TokenizedSequence]):
    """Tokenized sequences in the order of their texts, made as they are asked for; made by `tokenize`.

    Attributes
    ----------
    truncated
        Sequences cut so far.
    skipped
        Texts left out so far because the tokenizer made no token of them.
    """

    def __init__(self, texts: Iterable[Text], tokenizer: PreTrainedTokenizerBase, max_length: int | None) -> None:
        self.truncated = 0
        self.skipped = 0
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._sequences = self._tokenized(iter(texts))

    def __next__(self) -> TokenizedSequence:
        return next(self._sequences)

    def _tokenized(self, texts: Iterator[Text]) -> Iterator[TokenizedSequence]:
        while chunk := list(islice(texts, _TEXTS_A_CALL)):
            for text, (ids, cut) in zip(chunk, self._encoded(chunk), strict=True):
                if not ids:
                    self.skipped += 1
                    continue
                self.truncated += cut
                yield TokenizedSequence(text.id, np.array(ids, dtype=np.int32), cut)

    def _encoded(self, texts: list[Text]) -> list[tuple[list[int], bool]]:
        """Return the ids of each text and whether they were cut."""
        whole = _encode(self._tokenizer, texts, truncation=False)
        limit = self._max_length
        if limit is None:
            return [(ids, False) for ids in whole]
        # Only the tokenizer knows which tokens its truncation keeps (special ones at either end), but asked to truncate
        # it does not say whether it did. So those that are too long, and no others, are given to it again.
        too_long = [text for text, ids in zip(texts, whole, strict=True) if len(ids) > limit]
        cut = iter(_encode(self._tokenizer, too_long, truncation=True, max_length=limit) if too_long else [])
        return [(next(cut), True) if len(ids) > limit else (ids, False) for ids in whole]


def tokenize(texts: Iterable[Text], tokenizer: PreTrainedTokenizerBase, max_length: int | None) -> TokenStream:
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

    Returns
    -------
    TokenStream
        An iterator of `TokenizedSequence` that counts what it cut and what gave no token.

    Raises
    ------
    UsageError
        A `max_length` below 1, or too small for the special tokens alone.

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
    if max_length is not None:
        if max_length < 1:
            raise UsageError(f"max_length {max_length}: must be 1 or more")
        special = tokenizer.num_special_tokens_to_add()
        if max_length < special:
            raise UsageError(
                f"max_length {max_length}: the tokenizer adds {special} special tokens to each text; give at least {special}"
            )
    return TokenStream(texts, tokenizer, max_length)


def _encode(tokenizer: PreTrainedTokenizerBase, texts: list[Text], **truncation: Any) -> list[list[int]]:
    # verbose=False: the library would warn of sequences beyond its own limit, which is not the one that holds here.
    encoded = tokenizer(
        [text.text for text in texts],
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
        **truncation,
    )
    return list(encoded["input_ids"])
