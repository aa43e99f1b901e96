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

__all__ = ["ID_FIELD", "MASK_FIELD", "TOKENS_FIELD", "TextFields", "as_token_ids", "record_text"]

_TEXT, _MESSAGES = "text", "messages"
ID_FIELD, TOKENS_FIELD, MASK_FIELD = "id", "input_ids", "attention_mask"
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
            return TOKENS_FIELD if TOKENS_FIELD in names and _TEXT not in names else _TEXT
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
        return [name for name in names if name in needed or name == ID_FIELD] if needed <= set(names) else list(names)


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
    owner, name = _owner(record, field, place, "--text-field")
    value = _plain(owner[name])
    metadata = {name: _metadata(record, name, place) for name in fields.metadata}
    identity = _id(record, number, place)
    if fields.chat:
        messages = read_conversation(value, f"{place}, field {field!r}")
        return check_encodable(Text(identity, "", None, metadata, messages), place)
    text, token_ids = (value, None) if isinstance(value, str) else ("", as_token_ids(value))
    if not isinstance(value, str) and token_ids is None:
        raise TextsError(f"{place}: field {field!r} is {json_type(value)}, not a string or a list of token ids")
    if isinstance(value, str) and name == TOKENS_FIELD:
        raise TextsError(f"{place}: field {field!r} is a string, not a list of token ids")
    if token_ids is not None and (
        name == TOKENS_FIELD or TOKENS_FIELD not in owner
    ):  # else the mask is that of the other field
        token_ids = _without_padding(token_ids, owner.get(MASK_FIELD), f"{place}, field {field!r}")
    return check_encodable(Text(identity, text, token_ids, metadata), place)


def as_token_ids(value: object) -> tuple[int, ...] | None:
    """Return a list, array or tensor of whole numbers as token ids; None for anything else.

    Examples
    --------
    >>> as_token_ids([5, 6]), as_token_ids(np.array([7])), as_token_ids([5, "a"]), as_token_ids("56")
    ((5, 6), (7,), None, None)
    """
    items = _items(value)
    if items is None or any(isinstance(item, bool) or not isinstance(item, int | np.integer) for item in items):
        return None
    return tuple(map(int, items))


def _items(value: Any) -> list[Any] | None:
    """Return the items of a list, or of an array or tensor with one axis; None for anything else."""
    if hasattr(value, "detach"):  # a tensor of torch, on any device
        value = value.detach().cpu()
    if hasattr(value, "__array__"):
        array = np.asarray(value)
        return array.tolist() if array.ndim == 1 else None
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else None


def _without_padding(token_ids: tuple[int, ...], mask: object, place: str) -> tuple[int, ...]:
    """Return the token ids that the attention mask of the same record keeps."""
    if mask is None:
        return token_ids
    kept = _items(mask)
    if kept is None or len(kept) != len(token_ids) or not all(isinstance(keep, int) for keep in kept):
        raise TextsError(f"{place}: its {MASK_FIELD} is not a list of {len(token_ids)} zeros and ones, one a token id")
    return tuple(token for token, keep in zip(token_ids, kept, strict=True) if keep)


def _owner(record: Mapping[Any, Any], name: str, place: str, option: str) -> tuple[Mapping[Any, Any], str]:
    """Return the record that holds a field, and the field's name in it.

    The whole name is tried first, because names may contain dots.
    """
    if name in record:
        return record, name
    first, dot, rest = name.partition(".")
    inner = record.get(first)
    if dot and isinstance(inner, Mapping):
        return _owner(inner, rest, f"{place}, {first}", option)
    present = ", ".join(map(repr, record)) or "none"
    raise TextsError(f"{place}: no field {name!r} (fields: {present}): name the right one with {option}")


def _id(record: Mapping[Any, Any], number: int | str, place: str) -> str:
    given = _plain(record.get(ID_FIELD))
    if given is None:
        return str(number)
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        raise TextsError(f"{place}: field 'id' is {json_type(given)}, not a string or a number")
    return str(given)


def _metadata(record: Mapping[Any, Any], name: str, place: str) -> Metadata:
    owner, own_name = _owner(record, name, place, "--metadata")
    value = _plain(owner[own_name])
    if value is not None and not isinstance(value, str | int | float | bool):
        inside = isinstance(value, Mapping)
        remedy = f"name a field in it, such as {name}.NAME" if inside else "make it a string or a number"
        raise TextsError(f"{place}: field {name!r} is {json_type(value)}, not a single value: {remedy}")
    return value


def _plain(value: Any) -> Any:
    """Return a number of numpy as one of Python, a date as text, and the missing values of pandas as None."""
    if isinstance(value, np.datetime64 | np.timedelta64) and isinstance(value.item(), int):  # in nanoseconds
        value = value.astype(f"{type(value).__name__}[us]")
    if isinstance(value, np.generic):
        value = value.item()
    if (isinstance(value, float) and value != value) or type(value).__name__ in _MISSING:
        return None
    return value.isoformat() if hasattr(value, "isoformat") else value
