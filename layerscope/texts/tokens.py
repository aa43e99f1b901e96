"""Turn texts into a stream of token ids, exactly as the tokenizer does.

Special tokens that the tokenizer adds are kept, as in its own truncation. Independent of models: the maximum length is an
argument.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from hashlib import blake2b
from itertools import groupby, islice
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Int32
from tokenizers import Encoding
from transformers import BatchEncoding, PreTrainedTokenizerBase

from layerscope.errors import TextsError, UsageError, at_least
from layerscope.texts.conversations import Conversation, render_conversation
from layerscope.texts.offsets import own_characters, read_characters, untrimmed
from layerscope.texts.special_tokens import appended_tokens
from layerscope.texts.text import Metadata, Text
from layerscope.texts.tokenizer_errors import translate_tokenizer_errors

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
        Whether the text was longer than the maximum length.
    spans
        Start and end of the characters that each token has read, ``[token, 2]``; equal for a token without characters. None
        unless requested.
    text_hash
        A hash of the text, which distinguishes texts with the same id; 0 without spans.
    metadata
        Values of the text's metadata, by name.
    roles
        The role of each token of a conversation; None for other texts.
    """

    id: str
    token_ids: Int32[np.ndarray, " token"]
    truncated: bool
    spans: Int32[np.ndarray, "token 2"] | None = None
    text_hash: int = 0
    metadata: Mapping[str, Metadata] = {}
    roles: tuple[str, ...] | None = None


class TokenStream(Iterator[TokenizedSequence]):
    """An iterator of tokenized sequences in the order of their texts; made by `tokenize`.

    Attributes
    ----------
    truncated
        Number of sequences truncated so far.
    skipped
        Number of texts skipped so far, because they have no tokens.
    doubled
        Number of texts so far that begin with the first token that the tokenizer adds; they have it once.
    """

    def __init__(
        self,
        texts: Iterable[Text],
        tokenizer: PreTrainedTokenizerBase | None,
        max_length: int | None,
        spans: bool = False,
        vocabulary_size: int | None = None,
        continued: bool = False,
    ) -> None:
        self.truncated = 0
        self.skipped = 0
        self.doubled = 0
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._spans = spans
        self._vocabulary_size = vocabulary_size
        self._continued = continued
        self._appended = appended_tokens(tokenizer) if continued and tokenizer is not None else ()
        self._keeps_end = tokenizer is not None and tokenizer.truncation_side == "left"
        self._sequences = self._tokenized(iter(texts))

    def __next__(self) -> TokenizedSequence:
        return next(self._sequences)

    def _tokenized(self, texts: Iterator[Text]) -> Iterator[TokenizedSequence]:
        while chunk := list(islice(texts, _TEXTS_A_CALL)):
            for tokenized, group in groupby(chunk, lambda text: (text.token_ids or text.conversation) is not None):
                part = list(group)
                yield from map(self._without_call, part) if tokenized else self._sequences_of(part)

    def _without_call(self, text: Text) -> TokenizedSequence:
        return self._given(text) if text.conversation is None else self._of_conversation(text, text.conversation)

    def _of_conversation(self, text: Text, messages: Conversation) -> TokenizedSequence:
        tokenizer = self._require_tokenizer(text)
        place = f"the conversation {text.id!r}"
        with translate_tokenizer_errors(place):
            rendered = render_conversation(tokenizer, messages, place, continued=self._continued)
        sequence = self._given(text._replace(token_ids=rendered.token_ids))
        return sequence._replace(roles=rendered.roles[: len(sequence.token_ids)])

    def _given(self, text: Text) -> TokenizedSequence:
        """Return the sequence of a text whose token ids are given; it is truncated at its end."""
        ids = text.token_ids or ()
        if self._spans:
            raise TextsError(f"the text {text.id!r} is given as token ids, which have no characters: leave out --spans")
        for position, token in enumerate(ids):
            if token < 0 or (self._vocabulary_size is not None and token >= self._vocabulary_size):
                raise TextsError(
                    f"the text {text.id!r} has the token id {token} at position {position}, and the model's embedding has "
                    f"the ids 0 to {(self._vocabulary_size or 2**31) - 1}: give ids of this model's tokenizer"
                )
        truncated = self._max_length is not None and len(ids) > self._max_length
        self.truncated += truncated
        return TokenizedSequence(
            text.id, np.array(ids[: self._max_length], np.int32), truncated, metadata=text.metadata
        )

    def _sequences_of(self, texts: list[Text]) -> Iterator[TokenizedSequence]:
        whole = self._call(texts)
        limit = self._max_length
        # Only the tokenizer knows which tokens its truncation keeps (special ones at either end), but it does not report whether
        # it truncated. So the texts that are too long are tokenized again.
        long = [] if limit is None else [row for row, ids in enumerate(whole["input_ids"]) if len(ids) > limit]
        cut = self._call([texts[row] for row in long], limit) if long else None
        for row, text in enumerate(texts):
            encoded, place = (cut, long.index(row)) if cut is not None and row in long else (whole, row)
            ids = encoded["input_ids"][place]
            if not ids:
                self.skipped += 1
                continue
            self._refuse_unknown(text, ids)
            self.truncated += encoded is cut
            start, stop = self._doubled_start(ids), len(ids) - self._appended_end(ids)
            kept = np.array(ids[start:stop], dtype=np.int32)
            sequence = TokenizedSequence(text.id, kept, encoded is cut, metadata=text.metadata)
            if self._spans:
                spans = self._read(text.text, whole.encodings[row], encoded.encodings[place])
                sequence = sequence._replace(spans=spans[start:stop], text_hash=_hash(text.text))
            yield sequence

    def _doubled_start(self, ids: list[int]) -> int:
        """Return 1 if a text that was rendered with its first special token got a second one, else 0."""
        first = getattr(self._tokenizer, "bos_token_id", None)
        doubled = first is not None and ids[:2] == [first, first]
        self.doubled += doubled
        return int(doubled)

    def _appended_end(self, ids: list[int]) -> int:
        """Return how many tokens end a text that the model shall continue."""
        count = len(self._appended)
        return count if count and tuple(ids[-count:]) == self._appended else 0

    def _call(self, texts: list[Text], max_length: int | None = None) -> BatchEncoding:
        tokenizer = self._require_tokenizer(texts[0])
        which = repr(texts[0].id) if len(texts) == 1 else f"one of {len(texts)} from {texts[0].id!r}"
        spans = untrimmed(tokenizer.backend_tokenizer) if self._spans else nullcontext()
        with translate_tokenizer_errors(f"the text {which}"), spans:
            # verbose=False: the library would warn of sequences beyond its own limit, which does not apply here.
            return tokenizer(
                [text.text for text in texts],
                padding=False,
                return_attention_mask=False,
                return_token_type_ids=False,
                verbose=False,
                truncation=max_length is not None,
                max_length=max_length,
            )

    def _require_tokenizer(self, text: Text) -> PreTrainedTokenizerBase:
        if self._tokenizer is None:
            raise TextsError(
                f"the text {text.id!r} needs a tokenizer, and the model comes without one: give load_model(…, tokenizer=…), "
                "or texts as lists of token ids"
            )
        return self._tokenizer

    def _refuse_unknown(self, text: Text, ids: list[int]) -> None:
        if self._vocabulary_size is not None and max(ids) >= self._vocabulary_size:
            token = self._require_tokenizer(text).convert_ids_to_tokens(max(ids))
            raise TextsError(
                f"the text {text.id!r} has the token {token!r} (id {max(ids)}), and the model's embedding has "
                f"{self._vocabulary_size} rows: leave out the text"
            )

    def _read(self, text: str, whole: Encoding, kept: Encoding) -> Int32[np.ndarray, "token 2"]:
        """Return the spans of the kept tokens; tokens of a template have empty spans."""
        tokens, offsets = np.array(whole.tokens), np.array(whole.offsets, dtype=np.int32).reshape(-1, 2)
        read = read_characters(text, tokens[_of_text(whole)].tolist(), offsets[_of_text(whole)])
        places = _of_text(kept)
        rows = np.arange(len(read))
        rows = rows[len(read) - len(places) :] if self._keeps_end else rows[: len(places)]
        spans = np.zeros((len(kept.ids), 2), dtype=np.int32)
        spans[places] = own_characters(read, rows)[rows]
        return spans


def _of_text(encoding: Encoding) -> Int[np.ndarray, " row"]:
    return np.flatnonzero([sequence is not None for sequence in encoding.sequence_ids])


def tokenize(
    texts: Iterable[Text],
    tokenizer: PreTrainedTokenizerBase | None,
    max_length: int | None,
    *,
    spans: bool = False,
    vocabulary_size: int | None = None,
    continued: bool = False,
) -> TokenStream:
    """Tokenize texts in a stream.

    A text longer than `max_length` tokens, special ones included, is truncated by the tokenizer: special tokens stay, and the
    text loses its end (its start if the tokenizer's ``truncation_side`` is ``left``). A text that is given as token ids is taken
    unchanged: nothing is added, and it is truncated at its end.

    Parameters
    ----------
    texts
        The texts, read a few hundred at a time.
    tokenizer
        A Hugging Face tokenizer, used with its own defaults. Padding or truncation stored in it does not apply. None where all
        texts are given as token ids.
    max_length
        Maximum number of tokens in a sequence; None for no limit.
    spans
        Whether to return the characters that each token has read; see `layerscope.texts.offsets.read_characters`. Special tokens
        that the tokenizer adds have empty spans.
    vocabulary_size
        Number of ids that the model knows; None for no limit.
    continued
        Whether the model continues the texts: conversations then end with the generation prompt of their template.

    Returns
    -------
    TokenStream
        An iterator of `TokenizedSequence` that counts truncated and skipped texts.

    Raises
    ------
    UsageError
        `max_length` is below 1, or too small for the special tokens alone.
    TextsError
        `spans` is requested and the tokenizer is not "fast". From the stream: an id is beyond `vocabulary_size`, or the tokenizer
        fails on a text.

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
    if max_length is not None and tokenizer is not None:
        special = tokenizer.num_special_tokens_to_add()
        if max_length < special:
            raise UsageError(
                f"max_length {max_length}: the tokenizer adds {special} special tokens to each text; give at least {special}"
            )
    if spans and tokenizer is not None and not tokenizer.is_fast:
        raise TextsError(
            f"the tokenizer ({type(tokenizer).__name__}) does not report the characters of a token, as only fast tokenizers do: "
            "leave out --spans"
        )
    return TokenStream(texts, tokenizer, max_length, spans, vocabulary_size, continued)


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)
