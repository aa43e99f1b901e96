"""Read texts that are given in Python: lists, mappings, tables and datasets."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from io import IOBase
from typing import Any

from layerscope.errors import TextsError, UsageError
from layerscope.texts.conversations import read_conversation
from layerscope.texts.records import ID_FIELD, MASK_FIELD, TOKENS_FIELD, TextFields, as_token_ids, record_text
from layerscope.texts.tables import require_different
from layerscope.texts.text import Text, check_encodable

__all__ = ["read_object", "require_texts"]

_FORMS = "give a list of strings, of mappings with a field text, or of lists of token ids; a DataFrame; or a dataset"


def require_texts(source: object) -> None:
    """Refuse an object that holds no texts in an order.

    Raises
    ------
    UsageError
        It is no iterable, one text only, a set, or several splits of a dataset.
    """
    if isinstance(source, IOBase):
        raise UsageError("texts are an open file: give its path, or its lines as a list")
    if isinstance(source, bytes | Set) or not isinstance(source, Iterable):
        raise UsageError(f"texts are of type {type(source).__name__}: {_FORMS}")
    if isinstance(source, Mapping) and source and all(hasattr(value, "column_names") for value in source.values()):
        raise UsageError(
            f"texts are the splits {', '.join(map(str, source))}: give one, as in texts[{next(iter(source))!r}]"
        )


def read_object(source: Any, fields: TextFields) -> Iterator[Text]:
    """Yield the texts of an object.

    Parameters
    ----------
    source
        A DataFrame, whose index gives the ids without a column ``id``; a Series, whose index gives the ids; a mapping of ids to
        texts; or an iterable, such as a list or a dataset. An item is a string, a mapping with the fields, or token ids.
    fields
        The fields to read of mappings and tables.

    Raises
    ------
    TextsError
        An item is something else, or lacks a field; the message names it.
    UsageError
        A field is named, and an item is plain.

    Examples
    --------
    >>> [text.id for text in read_object({"a": "one", "b": "two"}, TextFields())]
    ['a', 'b']
    >>> next(read_object([{"id": "p3", "text": "three"}], TextFields())).text
    'three'
    >>> next(read_object([[5, 6, 7]], TextFields())).token_ids
    (5, 6, 7)
    """
    if isinstance(source, Mapping):
        _refuse_record(source, fields)
    for number, (given, item) in enumerate(_items(source)):
        place = f"texts[{number if given is None else given!r}]"
        identity = str(number if given is None else given)
        if isinstance(item, Mapping):
            yield record_text(item, identity, fields, place)
            continue
        if fields.chat and isinstance(item, Sequence) and not isinstance(item, str):
            messages = read_conversation(item, place)
            yield check_encodable(Text(identity, "", None, {}, messages), place)
            continue
        token_ids = as_token_ids(item)
        if token_ids is None and not isinstance(item, str):
            raise TextsError(f"{place} is of type {type(item).__name__}: {_FORMS}")
        fields.refuse_for_plain(place)
        yield check_encodable(Text(identity, item if token_ids is None else "", token_ids), place)


def _items(source: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each item with the id that the object gives it, or None."""
    if hasattr(source, "iterrows"):  # a DataFrame of pandas
        columns = list(source.columns)
        require_different(columns, "the DataFrame")
        if ID_FIELD in columns:  # whole numbers, some missing, are floats in a table
            source = source.assign(**{ID_FIELD: source[ID_FIELD].convert_dtypes()})
        for row in source.itertuples(name=None):
            yield _label(row[0]), dict(zip(columns, row[1:], strict=True))
    elif hasattr(source, "iter_rows"):  # a DataFrame of polars
        for record in source.iter_rows(named=True):
            yield None, record
    elif isinstance(source, Mapping) and TOKENS_FIELD in source:  # what a tokenizer returns
        for record in _encoded(source):
            yield None, record
    elif isinstance(source, Mapping) or (hasattr(source, "items") and hasattr(source, "index")):  # a dict, or a Series
        for label, item in source.items():
            yield _label(label), item
    else:
        for item in source:
            yield None, item


def _refuse_record(source: Mapping[Any, Any], fields: TextFields) -> None:
    """Refuse a mapping of the names of fields, where ids are expected."""
    named = [name for name in (fields.text_field(source), ID_FIELD) if name in source]
    if named and TOKENS_FIELD not in source:
        raise UsageError(
            f"texts are one record (it has the key {named[0]!r}), not a mapping of ids to texts: put it in a list"
        )


def _encoded(source: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a record for each row of what a tokenizer returns: for one text, or for several."""
    columns = {name: source[name] for name in (TOKENS_FIELD, MASK_FIELD) if name in source}
    if as_token_ids(columns[TOKENS_FIELD]) is not None:
        columns = {name: [column] for name, column in columns.items()}
    for row in zip(*columns.values(), strict=True):
        yield dict(zip(columns, row, strict=True))


def _label(label: Any) -> Any:
    return label.item() if hasattr(label, "item") else label
