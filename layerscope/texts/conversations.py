"""Put conversations through the chat template of a tokenizer, and find the role of every token.

The template is rendered twice: with the messages, and with a placeholder in place of each content. The text between the
placeholders is what the template adds, so the place of each content in the real rendering is known. The rendering of the first
k messages ends where message k ends; the markers up to there belong to message k, the following ones to message k+1. A default
system prompt that the template inserts has the role ``system``; tokens of no message, such as the first one, have the role
``template``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from layerscope.errors import TextsError
from layerscope.texts.text import json_type

__all__ = ["ASSISTANT", "TEMPLATE", "Conversation", "RenderedConversation", "read_conversation", "render_conversation"]

Conversation = tuple[Mapping[str, Any], ...]
"""The messages, each with a role and a content."""

TEMPLATE = "template"
"""The role of tokens that belong to no message."""

ASSISTANT = "assistant"
"""The role of what the model says."""

_SYSTEM, _USER = "system", "user"


@dataclass(frozen=True)
class RenderedConversation:
    """The tokens of a conversation.

    Attributes
    ----------
    token_ids
        Its token ids.
    roles
        The role of each token.
    """

    token_ids: tuple[int, ...]
    roles: tuple[str, ...]


def read_conversation(value: object, place: str) -> Conversation:
    """Return the messages of a field.

    Raises
    ------
    TextsError
        It is no list of messages with a role and a content that is text.

    Examples
    --------
    >>> read_conversation([{"role": "user", "content": [{"type": "text", "text": "Hello"}]}], "line 1")
    ({'role': 'user', 'content': 'Hello'},)
    """
    form = 'give a list of {"role": "user", "content": "..."}'
    value = _listed(value)
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise TextsError(f"{place}: {json_type(value)}, not a conversation: {form}")
    if not value:
        raise TextsError(f"{place}: a conversation without a message: {form}")
    return tuple(_message(message, f"{place}, message {number}", form) for number, message in enumerate(value))


def _message(message: object, place: str, form: str) -> Mapping[str, Any]:
    role = message.get("role") if isinstance(message, Mapping) else None
    if not isinstance(message, Mapping) or not isinstance(role, str) or not role:
        raise TextsError(f"{place}: not an object with a role: {form}")
    content = _listed(message.get("content"))
    if content is None:
        content = ""
    if not isinstance(content, str) and isinstance(content, Sequence):
        texts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        content = "".join(map(str, texts)) if all(isinstance(text, str) for text in texts) else None
    if not isinstance(content, str):
        raise TextsError(f"{place}: its content is not text: only text is taken")
    return {**message, "content": content}


def _listed(value: object) -> object:
    """Return an array, as tables hold lists, as a list."""
    return value.tolist() if isinstance(value, np.ndarray) else value


def render_conversation(
    tokenizer: PreTrainedTokenizerBase, messages: Conversation, place: str, *, continued: bool = False
) -> RenderedConversation:
    """Put a conversation through the chat template.

    Parameters
    ----------
    tokenizer
        A fast tokenizer with a chat template.
    messages
        The messages.
    place
        Name of the conversation, for messages of errors.
    continued
        Whether the model continues it: the template then adds its generation prompt, which has the role ``assistant``.

    Raises
    ------
    TextsError
        There is no template, it fails on these messages, it adds a generation prompt that was not requested, or it changes
        a content so that the roles are not certain.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise TextsError(f"{place}: the tokenizer has no chat template: give an instruct model, or leave out --chat")
    if not tokenizer.is_fast:
        raise TextsError(
            f"{place}: the tokenizer ({type(tokenizer).__name__}) does not report characters: leave out --chat"
        )
    renderer = _Renderer(tokenizer, place)
    text = renderer.render(messages)
    if not continued:
        renderer.refuse_unwanted_prompt(messages)
    roles = renderer.roles(messages, text)
    if continued:
        longer = renderer.render(messages, add_generation_prompt=True)
        if not longer.startswith(text):
            raise TextsError(f"{place}: the template changes the conversation when it adds a generation prompt")
        roles += [ASSISTANT] * (len(longer) - len(text))
        text = longer
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    ids: list[int] = encoded["input_ids"]
    starts = [start for start, _ in encoded["offset_mapping"]]
    return RenderedConversation(tuple(ids), tuple(roles[min(start, len(roles) - 1)] for start in starts))


class _Renderer:
    """The template of one tokenizer, for one conversation."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, place: str) -> None:
        self._tokenizer, self._place = tokenizer, place

    def render(self, messages: Sequence[Mapping[str, Any]], add_generation_prompt: bool = False) -> str:
        try:
            text: str = self._tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=add_generation_prompt
            )
        except Exception as error:  # a template is a program and raises any error
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise TextsError(
                f"{self._place}: the chat template fails: {reason}\ncheck the roles and their order"
            ) from error
        return text

    def _try(self, messages: Sequence[Mapping[str, Any]]) -> str | None:
        try:
            return self.render(messages)
        except TextsError:
            return None  # some templates refuse a part of a conversation that they take whole

    def refuse_unwanted_prompt(self, messages: Conversation) -> None:
        """Refuse a template that opens an answer though it is not asked to."""
        answer = "⟦answer⟧"
        asked = messages[:-1] if messages[-1]["role"] == ASSISTANT else messages
        answered = self._try([*asked, {"role": ASSISTANT, "content": answer}])
        if answered is None or answer not in answered:
            return
        before, _, after = answered.partition(answer)
        opened = next((after[start:] for start in range(len(after)) if before.endswith(after[start:])), "")
        if opened.strip() and not self._is_end(opened):
            raise TextsError(
                f"{self._place}: the chat template adds a generation prompt ({opened.strip()!r}) that was not requested\n"
                "correct the template, or continue the conversation with --generate N"
            )

    def _is_end(self, text: str) -> bool:
        """Return whether a text is only end tokens, with which a template may close every message."""
        for token in self._tokenizer.all_special_tokens:
            text = text.replace(token, "")
        return not text.strip()

    def roles(self, messages: Conversation, text: str) -> list[str]:
        """Return the role of each character of the rendered text."""
        roles = [TEMPLATE] * len(text)
        spans = self._contents(messages, text)
        ends = self._ends(messages, text)
        shown = [number for number, _, _ in spans]
        start = self._start(messages, text, spans)
        if start:
            roles[: start[0]] = [TEMPLATE] * start[0]
            roles[start[0] : start[1]] = [_SYSTEM] * (start[1] - start[0])
        begun = start[1] if start else 0
        for place, (number, _, stop) in enumerate(spans):
            following = spans[place + 1][1] if place + 1 < len(spans) else len(text)
            end = ends.get(number)
            if end is None or not stop <= end <= following:
                end = len(text) if number == shown[-1] else stop
            roles[begun:end] = [messages[number]["role"]] * (end - begun)
            begun = end
        return roles

    def _contents(self, messages: Conversation, text: str) -> list[tuple[int, int, int]]:
        """Return the number of the message, the start and the end of each content in the text."""
        everywhere = range(len(messages))
        filled = [number for number in everywhere if messages[number]["content"].strip()]
        for numbers in (everywhere, filled):  # a template may leave out empty messages
            spans = self._find_contents(messages, text, set(numbers))
            if spans is not None:
                return spans
        raise TextsError(
            f"{self._place}: the chat template changes the content of a message, so the roles of its tokens are not certain\n"
            "render the conversation yourself and give it as text, without --chat"
        )

    def _find_contents(self, messages: Conversation, text: str, numbers: set[int]) -> list[tuple[int, int, int]] | None:
        """Return the places of the contents, if the template writes the rest as it does around placeholders."""
        marked = [
            {**message, "content": f"⟦{number}⟧"} if number in numbers else message
            for number, message in enumerate(messages)
        ]
        rest, place = self._try(marked) or "", 0
        spans: list[tuple[int, int, int]] = []
        while found := _first_placeholder(rest, len(messages)):
            number, at, rest_after = found
            if not text.startswith(rest[:at], place):
                return None
            place += at
            forms = (form for form in _forms(messages[number]["content"]) if text.startswith(form, place))
            content = next(forms, None)
            if content is None:
                return None
            spans.append((number, place, place + len(content)))
            place, rest = place + len(content), rest_after
        return spans if text[place:] == rest else None

    def _ends(self, messages: Conversation, text: str) -> dict[int, int]:
        """Return where each message ends, of those whose preceding part the template renders alike."""
        ends = {}
        for number in range(len(messages)):
            part = self._try(messages[: number + 1])
            if part is not None and text.startswith(part):
                ends[number] = len(part)
        return ends

    def _start(self, messages: Conversation, text: str, spans: list[tuple[int, int, int]]) -> tuple[int, int] | None:
        """Return where what belongs to no message ends, and where the first message begins: a default prompt is between."""
        if not spans:
            return None
        number, first, _ = spans[0]
        header = self._header(messages[number]["role"])
        begun = first - len(header) if header and text[:first].endswith(header) else 0
        bos = self._tokenizer.bos_token
        special = len(bos) if bos and text.startswith(bos) and not self._marks_messages(bos) else 0
        return special, max(begun, special)

    def _marks_messages(self, token: str) -> bool:
        """Return whether the template writes a token before messages that are not the first."""
        return any(token in self._header(role) for role in (_USER, ASSISTANT))

    def _header(self, role: str) -> str:
        """Return what the template writes between the end of a message and the content of the next one of this role."""
        other = ASSISTANT if role == _USER else _USER
        opening = [] if other == _USER else [{"role": _USER, "content": "⟦u⟧"}]
        before = [*opening, {"role": other, "content": "⟦o⟧"}]
        if role == _SYSTEM:
            return ""
        ended, whole = self._try(before), self._try([*before, {"role": role, "content": "⟦m⟧"}])
        if ended is None or whole is None or not whole.startswith(ended) or "⟦m⟧" not in whole:
            return ""
        return whole[len(ended) : whole.index("⟦m⟧")]


def _first_placeholder(text: str, count: int) -> tuple[int, int, str] | None:
    """Return the number of the first placeholder in a text, where it begins, and the text after it."""
    found = [(text.index(mark), number, mark) for number in range(count) if (mark := f"⟦{number}⟧") in text]
    if not found:
        return None
    at, number, mark = min(found)
    return number, at, text[at + len(mark) :]


def _forms(content: str) -> Iterator[str]:
    """Yield the forms in which templates write a content: unchanged, trimmed, or without its reasoning."""
    yield content
    yield content.strip()
    yield content.lstrip()
    yield content.rstrip()
    if "</think>" in content:
        yield content.split("</think>")[-1].lstrip("\n")
        yield content.split("</think>")[-1].strip()
