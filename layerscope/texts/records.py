"""Make a text from a record: a line of JSON, a row of a table, or a mapping given in Python.

Independent of files: the caller passes the place of a record for error messages.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from layerscope.errors import TextsError, UsageError
from layerscope.texts.conversations import read_conversation
from layerscope.texts.text import Metadata, Text, check_encodable, json_type

__all__ = ["TextFields", "as_token_ids", "record_text"]

_TEXT, _TOKENS, _MESSAGES, _MASK, _ID = "text", "input_ids", "messages", "attention_mask", "id"
_MISSING = ("NAType", "NaTType")  # of pandas, which need not be installed


@dataclass(frozen=True)
class TextFields:
    """The fields of a record that are read.

    Attributes
    ----------
    text
        The field with the text or the token ids; a dot reaches into nested records. None means ``text``, or ``input_ids`` in
        records without it.
    metadata
        Fields to keep.
    chat
        Whether the field holds a conversation; None as `text` then means ``messages``.
    """

    text: str | None = None
    metadata: tuple[str, ...] = ()
    chat: bool = False

    def refuse_for_plain(self, name: str) -> None:
        """Refuse the names of fields for texts without fields.

        Raises
        ------
        UsageError
            A field is named.
        """
        if self.chat:
            raise UsageError(
                f"{name}: plain texts hold no conversations; give lists of messages, in Python or in a field of .jsonl, .parquet "
                "or datasets, or leave out --chat"
            )
        for given in (self.text, *self.metadata):
            if given is not None:
                raise UsageError(
                    f"{name}: plain texts have no field {given!r}; only .jsonl, .csv, .tsv, .parquet, datasets, and mappings in "
                    "Python have fields"
                )

    def text_field(self, names: Collection[Any]) -> str:
        """Return the field with the text in a record of these names."""
        if self.text is None and self.chat:
            return _MESSAGES
        if self.text is None:
            return _TOKENS if _TOKENS in names and _TEXT not in names else _TEXT
        return self.text

    def columns(self, names: Sequence[str]) -> list[str]:
        """Return the columns of a table that hold these fields; all of them, for a message, if one is missing.

        Examples
        --------
        >>> TextFields("a.b").columns(["id", "a", "c"]), TextFields("d").columns(["id", "a"])
        (['id', 'a'], ['id', 'a'])
        """
        fields = (self.text_field(names), *self.metadata)
        needed = {field if field in names else field.partition(".")[0] for field in fields}
        return [name for name in names if name in needed or name == _ID] if needed <= set(names) else list(names)


def record_text(record: object, number: int | str, fields: TextFields, place: str) -> Text:
    """Return the text of one record, its id and its metadata.

    Parameters
    ----------
    record
        A mapping.
    number
        The 0-based number of the record, or its label: the id of one without the field ``id``.
    fields
        The fields to read.
    place
        The place of the record, for messages.

    Raises
    ------
    TextsError
        The record is not a mapping or lacks a field; the text is neither a string nor a list of token ids; the id is neither a
        string nor a number; a value of the metadata is not a single value.

    Examples
    --------
    >>> record_text({"id": 12, "text": "plain"}, 0, TextFields(), "a.jsonl: line 1").id
    '12'
    >>> text = record_text({"a": {"b": "x"}, "year": 1999}, 3, TextFields("a.b", ("year",)), "a.jsonl: line 4")
    >>> text.id, text.text, text.metadata
    ('3', 'x', {'year': 1999})
    >>> record_text({"input_ids": [5, 6]}, 0, TextFields(), "a.jsonl: line 1").token_ids
    (5, 6)
    """
    if not isinstance(record, Mapping):
        shape = f'{{"{fields.text_field(())}": "..."}}'
        raise TextsError(f"{place}: {json_type(record)}, not an object: each line must look like {shape}")
    field = fields.text_field(record)
    value = _plain(_field(record, field, place, "--text-field"))
    metadata = {name: _metadata(record, name, place) for name in fields.metadata}
    identity = _id(record, number, place)
    if fields.chat:
        messages = read_conversation(value, f"{place}, field {field!r}")
        return check_encodable(Text(identity, "", None, metadata, messages), place)
    text, token_ids = (value, None) if isinstance(value, str) else ("", as_token_ids(value))
    if not isinstance(value, str) and token_ids is None:
        raise TextsError(f"{place}: field {field!r} is {json_type(value)}, not a string or a list of token ids")
    if isinstance(value, str) and field == _TOKENS:
        raise TextsError(f"{place}: field {field!r} is a string, not a list of token ids")
    if token_ids is not None and field == _TOKENS:
        token_ids = _without_padding(token_ids, record.get(_MASK), place)
    return check_encodable(Text(identity, text, token_ids, metadata), place)


def as_token_ids(value: object) -> tuple[int, ...] | None:
    """Return a list, array or tensor of whole numbers as token ids; None for anything else.

    Examples
    --------
    >>> as_token_ids([5, 6]), as_token_ids(np.array([7])), as_token_ids([5, "a"]), as_token_ids("56")
    ((5, 6), (7,), None, None)
    """
    if hasattr(value, "detach"):  # a tensor of torch, on any device
        value = value.detach().cpu()
    if isinstance(value, str | bytes) or not (isinstance(value, Sequence) or hasattr(value, "__array__")):
        return None
    items: list[Any] = np.asarray(value).tolist() if hasattr(value, "__array__") else list(value)  # type: ignore[call-overload]
    if any(isinstance(item, bool) or not isinstance(item, int | np.integer) for item in items):
        return None
    return tuple(map(int, items))


def _without_padding(token_ids: tuple[int, ...], mask: object, place: str) -> tuple[int, ...]:
    """Return the token ids that the attention mask of the same record keeps."""
    kept = token_ids if mask is None else as_token_ids(mask)
    if kept is None or len(kept) != len(token_ids):
        raise TextsError(
            f"{place}: {_MASK!r} is not a list of {len(token_ids)} whole numbers, one for each of {_TOKENS!r}"
        )
    return token_ids if mask is None else tuple(token for token, keep in zip(token_ids, kept, strict=True) if keep)


def _field(record: Mapping[Any, Any], name: str, place: str, option: str) -> object:
    """Return the value of a field. The whole name is tried first, because names may contain dots."""
    if name in record:
        return record[name]
    first, dot, rest = name.partition(".")
    inner = record.get(first)
    if dot and isinstance(inner, Mapping):
        return _field(inner, rest, f"{place}, {first}", option)
    present = ", ".join(map(repr, record)) or "none"
    raise TextsError(f"{place}: no field {name!r} (fields: {present}): name the right one with {option}")


def _id(record: Mapping[Any, Any], number: int | str, place: str) -> str:
    given = _plain(record.get(_ID))
    if given is None:
        return str(number)
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        raise TextsError(f"{place}: field 'id' is {json_type(given)}, not a string or a number")
    return str(given)


def _metadata(record: Mapping[Any, Any], name: str, place: str) -> Metadata:
    value = _plain(_field(record, name, place, "--metadata"))
    if value is not None and not isinstance(value, str | int | float | bool):
        raise TextsError(
            f"{place}: field {name!r} is {json_type(value)}, not a single value: name a field in it, such as {name}.NAME"
        )
    return value


def _plain(value: Any) -> Any:
    """Return a number of numpy as one of Python, a date as text, and the missing values of pandas as None."""
    if isinstance(value, np.generic):
        value = value.item()
    if (isinstance(value, float) and value != value) or type(value).__name__ in _MISSING:
        return None
    return value.isoformat() if hasattr(value, "isoformat") else value
