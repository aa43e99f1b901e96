"""The record of one text, and the checks that every text passes."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from layerscope.errors import TextsError

__all__ = ["Metadata", "Text", "check_encodable", "json_type"]

Metadata = str | int | float | bool | None
"""A value of the metadata of a text; None where it is missing."""

_KINDS = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}


class Text(NamedTuple):
    """A text, or its token ids, and its id.

    Attributes
    ----------
    id
        The ``id`` of the record, or the 0-based number of its line, as a string.
    text
        The text without its line end; empty where token ids are given.
    token_ids
        The ids of the tokens, for a text that is tokenized already.
    metadata
        Values of the requested metadata fields, by name.
    conversation
        The messages, for a text that the chat template makes; see `layerscope.texts.conversations`.
    """

    id: str
    text: str
    token_ids: tuple[int, ...] | None = None
    metadata: Mapping[str, Metadata] = {}
    conversation: tuple[Mapping[str, Any], ...] | None = None

    @property
    def blank(self) -> bool:
        """Whether there is nothing to run."""
        if self.conversation is not None:
            return False
        return not (self.text.strip() if self.token_ids is None else self.token_ids)


def json_type(value: object) -> str:
    """Return the name of the type of a JSON value, for messages.

    Examples
    --------
    >>> json_type(3), json_type(None), json_type(b"")
    ('a number', 'null', 'a bytes')
    """
    return "null" if value is None else _KINDS.get(type(value), f"a {type(value).__name__}")


def check_encodable(text: Text, place: str) -> Text:
    """Return `text`, checked to be valid for tokenizers and files.

    Raises
    ------
    TextsError
        The text, the id or a value of the metadata has half a surrogate pair, which UTF-8 cannot encode, or the id or a value has
        a NUL, which ends strings in HDF5.

    Examples
    --------
    >>> check_encodable(Text("7", "plain"), "a.jsonl: line 8").text
    'plain'
    """
    stored = {"id": text.id} | {f"field {name!r}": value for name, value in text.metadata.items()}
    for part, value in ({"text": text.text} | stored).items():
        if not isinstance(value, str):
            continue
        try:
            value.encode()
        except UnicodeEncodeError as error:
            code = f"\\u{ord(value[error.start]):04x}"
            raise TextsError(
                f"{place}: the {part} contains {code}, half of a surrogate pair: write the whole pair"
            ) from error
        if part in stored and "\0" in value:
            raise TextsError(f"{place}: the {part} {value!r} contains a NUL character: remove it")
    return text
