"""Tokens to be scored: a context, and what may follow it.

How a text is cut into context and continuation follows lm-eval: both are encoded together, and what the context alone gives is
taken off the front. Knows tokenizers; knows no task and no model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from layerscope.errors import TextsError
from layerscope.texts.special_tokens import prepended_tokens
from layerscope.texts.tokenizer_errors import quote_start, translate_tokenizer_errors

__all__ = ["Encoder", "Prompt"]

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
        """How many tokens the model has to read: the last of a continuation is only ever predicted."""
        return len(self.context) + sum(len(continuation) - 1 for continuation in self.continuations)

    @property
    def longest(self) -> int:
        """How many tokens the model reads of the longest text: the context with one continuation, less its last token."""
        return len(self.context) + max(map(len, self.continuations)) - 1


class Encoder:
    """Turns texts into prompts that fit a model.

    Parameters
    ----------
    tokenizer
        A Hugging Face tokenizer. What it puts before every text is put before every context; what it appends is left out.
    longest
        The most tokens the model takes; None for no limit.

    Attributes
    ----------
    shortened
        Prompts whose context lost its beginning so far.
    """

    def __init__(self, tokenizer: Any, longest: int | None) -> None:
        self._tokenizer = tokenizer
        self._longest = longest
        self.shortened = 0
        self._prefix: Tokens = prepended_tokens(tokenizer)

    def encode(self, text: str) -> Tokens:
        """Return the ids of a text, without special tokens."""
        with translate_tokenizer_errors(f"the text {quote_start(text)}"):
            return tuple(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def prompt(self, context: str, continuations: Sequence[str], name: str) -> Prompt:
        """Make the prompt of one context.

        White space at the end of the context belongs to what follows. An empty context becomes the token that begins a text.

        Parameters
        ----------
        context, continuations
            The texts.
        name
            Of the example, for messages.

        Raises
        ------
        TextsError
            A continuation that gives no token, or alone is longer than the model's context.
        """
        bare = context.rstrip()
        spaces = context[len(bare) :]
        ids = self.encode(bare)
        followed = []
        for continuation in continuations:
            rest = self.encode(bare + spaces + continuation)[len(ids) :]
            if not rest:
                raise TextsError(f"{name}: the continuation {continuation!r} gives no token after its context")
            followed.append(rest)
        return self.fit(self._prefix + ids or self._start(name), tuple(followed), name)

    def fit(self, context: Tokens, continuations: tuple[Tokens, ...], name: str) -> Prompt:
        """Cut the beginning of a context that is too long for the model.

        Raises
        ------
        TextsError
            When no token of the context would be left.
        """
        room = None if self._longest is None else self._longest + 1 - max(map(len, continuations))
        if room is not None and len(context) > room:
            if room < 1:
                raise TextsError(
                    f"{name}: a continuation alone is longer than the {self._longest} tokens the model takes"
                )
            context = context[-room:]
            self.shortened += 1
        return Prompt(context, continuations)

    def _start(self, name: str) -> Tokens:
        for token in (self._tokenizer.bos_token_id, self._tokenizer.eos_token_id):
            if token is not None:
                return (token,)
        raise TextsError(f"{name}: the context is empty, and the tokenizer has no token to begin with")
