"""Make a text from a record of a file or a dataset.

Independent of files: the caller passes the place of a record for error messages.
"""

from collections.abc import Mapping
from typing import NamedTuple

from layerscope.errors import TextsError

__all__ = ["Text", "check_encodable", "json_type", "text_from_record"]

DEFAULT_FIELD = "text"

_KINDS = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}


class Text(NamedTuple):
    """A text and its id.

    Attributes
    ----------
    id
        The ``id`` of the record, or the 0-based number of its line, as a string.
    text
        The text without its line end.
    """

    id: str
    text: str


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
        The text or the id has half a surrogate pair, which UTF-8 cannot encode, or the id has a NUL, which ends strings in HDF5.

    Examples
    --------
    >>> check_encodable(Text("7", "plain"), "a.jsonl: line 8").text
    'plain'
    """
    for part, value in zip(Text._fields, text, strict=True):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            code = f"\\u{ord(value[error.start]):04x}"
            raise TextsError(
                f"{place}: the {part} contains {code}, half of a surrogate pair: write the whole pair"
            ) from error
    if "\0" in text.id:
        raise TextsError(f"{place}: the id {text.id!r} contains a NUL character: remove it")
    return text


def text_from_record(record: object, number: int, field: str, place: str) -> Text:
    """Return the text and the id of one record.

    Parameters
    ----------
    record
        The value in a line of JSON, or a row of a dataset; must be a mapping.
    number
        The 0-based number of the line or row: the id of a record without one.
    field
        The field that holds the text.
    place
        The place of the record, for messages.

    Raises
    ------
    TextsError
        The record is not a mapping or lacks the field, the text is not a string, or the id is neither a string nor a number.

    Examples
    --------
    >>> text_from_record({"id": 12, "text": "plain"}, 0, "text", "a.jsonl: line 1")
    Text(id='12', text='plain')
    >>> text_from_record({"body": "plain"}, 0, "body", "a.jsonl: line 1")
    Text(id='0', text='plain')
    """
    if not isinstance(record, Mapping):
        raise TextsError(f'{place}: {json_type(record)}, not an object: each line must look like {{"{field}": "..."}}')
    if field not in record:
        present = ", ".join(map(repr, record)) or "none"
        raise TextsError(f"{place}: no field {field!r} (fields: {present}): name the right one with --text-field")
    text = record[field]
    if not isinstance(text, str):
        raise TextsError(f"{place}: field {field!r} is {json_type(text)}, not a string")
    given = record.get("id")
    if given is None:
        given = str(number)
    elif isinstance(given, bool) or not isinstance(given, str | int | float):
        raise TextsError(f"{place}: field 'id' is {json_type(given)}, not a string or a number")
    return check_encodable(Text(str(given), text), place)
