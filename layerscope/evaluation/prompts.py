"""Prompts: a context and its continuations as tokens, encoded as lm-eval does.

Context and continuation are encoded together, and the tokens of the context alone are removed from the front. This module knows
tokenizers, not tasks or models.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from layerscope.errors import TextsError
from layerscope.texts.special_tokens import prepended_tokens
from layerscope.texts.tokenizer_errors import quote_start, translate_tokenizer_errors

__all__ = ["Prompt", "PromptEncoder"]

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Prompt:
    """A context and its continuations, as token ids; neither is ever empty.

    Examples
    --------
    >>> Prompt((5, 6), ((7,), (8, 9))).tokens
    3
    """

    context: Tokens
    continuations: tuple[Tokens, ...]

    @property
    def tokens(self) -> int:
        """Number of tokens that the model reads; the last token of a continuation is only predicted."""
        return len(self.context) + sum(len(continuation) - 1 for continuation in self.continuations)

    @property
    def longest(self) -> int:
        """Number of tokens that the model reads of the longest text: context and continuation, without its last token."""
        return len(self.context) + max(map(len, self.continuations)) - 1


class PromptEncoder:
    """Encodes texts as prompts that fit a model.

    Parameters
    ----------
    tokenizer
        Hugging Face tokenizer. Tokens that it prepends to a text precede each context; tokens that it appends are left out.
    longest
        Maximum number of tokens; None for no limit.

    Attributes
    ----------
    truncated
        Number of prompts so far whose context was truncated.
    """

    def __init__(self, tokenizer: Any, longest: int | None) -> None:
        self._tokenizer = tokenizer
        self._longest = longest
        self.truncated = 0
        self._prefix: Tokens = prepended_tokens(tokenizer)

    def encode(self, text: str) -> Tokens:
        """Return the ids of a text, without special tokens."""
        with translate_tokenizer_errors(f"the text {quote_start(text)}"):
            return tuple(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def prompt(self, context: str, continuations: Sequence[str], name: str) -> Prompt:
        """Return the prompt of one context.

        Trailing white space of the context belongs to the continuation. An empty context becomes the token that begins a text.

        Parameters
        ----------
        context, continuations
            Texts.
        name
            Name of the example, for messages.

        Raises
        ------
        TextsError
            A continuation has no token, or is longer than the model's context.
        """
        bare = context.rstrip()
        spaces = context[len(bare) :]
        ids = self.encode(bare)
        encoded = []
        for continuation in continuations:
            rest = self.encode(bare + spaces + continuation)[len(ids) :]
            if not rest:
                raise TextsError(f"{name}: the continuation {continuation!r} has no token after its context")
            encoded.append(rest)
        return self.fit(self._prefix + ids or self._start(name), tuple(encoded), name)

    def fit(self, context: Tokens, continuations: tuple[Tokens, ...], name: str) -> Prompt:
        """Return a prompt whose context is truncated on the left to fit the model.

        Raises
        ------
        TextsError
            No token of the context would be left.
        """
        room = None if self._longest is None else self._longest + 1 - max(map(len, continuations))
        if room is not None and len(context) > room:
            if room < 1:
                raise TextsError(f"{name}: a continuation is longer than the limit of {self._longest} tokens")
            context = context[-room:]
            self.truncated += 1
        return Prompt(context, continuations)

    def _start(self, name: str) -> Tokens:
        for token in (self._tokenizer.bos_token_id, self._tokenizer.eos_token_id):
            if token is not None:
                return (token,)
        raise TextsError(f"{name}: the context is empty, and the tokenizer has no token that begins a text")
