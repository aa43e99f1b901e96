"""Convert a value to the type that an annotation declares, or refuse it."""

import os
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from layerscope.argument_messages import describe_type, one_line, protocol_methods, with_article
from layerscope.errors import UsageError

__all__ = ["UNREAD", "MismatchError", "convert"]

UNREAD = object()
"""Marks an annotated iterable that the function itself reads."""

_LONGEST_PATH, _LONGEST_NAME = 4095, 255  # of Linux, in bytes
_PLAIN = (bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset)


class MismatchError(Exception):
    """A value is not of the declared type; `path` locates it, as in ``sinks[1]``."""

    def __init__(self, value: object, hint: object, path: str) -> None:
        self.path = path
        kind = "None" if value is None else with_article(type(value).__name__)
        shown = f" {one_line(value)}" if isinstance(value, _PLAIN) else ""
        super().__init__(f"{path}{shown} is {kind}; expected {describe_type(hint)}")


def convert(value: Any, hint: Any, path: str) -> Any:
    """Return a value converted to the declared type.

    Raises
    ------
    MismatchError
        The value does not fit the type.
    """
    origin, parts = get_origin(hint) or hint, get_args(hint)
    if origin is Annotated:
        return _convert_annotated(value, hint, path)
    if origin in (Union, UnionType):
        return _convert_union(value, hint, path)
    if origin is bool and (type(value).__name__ == "bool" or (isinstance(value, Integral) and value in (0, 1))):
        return bool(value)  # numpy's own bool has the name of Python's
    number = not isinstance(value, bool)
    if origin is int and number and isinstance(value, Integral):
        return int(value)
    if origin is float and number and isinstance(value, Real):
        return float(value)
    if origin in (Sequence, list, tuple, Iterable) and parts:
        return _convert_items(value, hint, path)
    if origin is Mapping and parts and isinstance(value, Mapping):
        return {
            convert(key, parts[0], path): convert(item, parts[1], f"{path}[{key!r}]") for key, item in value.items()
        }
    if origin in (bool, int, float) or not _is(value, origin, parts):
        raise MismatchError(value, hint, path)
    return value


def _is(value: object, origin: Any, parts: tuple[Any, ...]) -> bool:
    if origin is Any or isinstance(origin, TypeVar):
        return True
    if origin is Literal:
        return any(type(value) is type(part) and value == part for part in parts)
    if methods := protocol_methods(origin):
        return not isinstance(value, type) and all(callable(getattr(value, name, None)) for name in methods)
    return isinstance(value, NoneType if origin is None else origin)


def _convert_annotated(value: Any, hint: Any, path: str) -> Any:
    declared, *notes = get_args(hint)
    if UNREAD in notes and isinstance(value, Iterable):
        return value
    try:
        converted = convert(value, declared, path)
    except MismatchError as mismatch:
        raise (mismatch if mismatch.path != path else MismatchError(value, hint, path)) from None
    if not all(test(converted) for test in notes if callable(test)):
        raise MismatchError(value, hint, path)
    return converted


def _convert_union(value: Any, hint: Any, path: str) -> Any:
    """Convert a value to the first type of a union that accepts it; report an item if only this item is wrong."""
    deepest = MismatchError(value, hint, path)
    if os.PathLike[str] in get_args(hint) and isinstance(value, str | os.PathLike):
        _require_possible_path(value, path)
    for part in get_args(hint):
        try:
            return convert(value, part, path)
        except MismatchError as mismatch:
            deepest = mismatch if len(mismatch.path) > len(deepest.path) else deepest
    raise deepest


def _require_possible_path(value: "str | os.PathLike[str]", path: str) -> None:
    """Refuse impossible file names before any work is done."""
    name = os.fspath(value)
    if not isinstance(name, str) or "\0" in name:
        raise UsageError(f"{path} {one_line(name)}: a file name is text without NUL characters")
    if len(name.encode(errors="surrogateescape")) > _LONGEST_PATH or max(map(len, name.split("/"))) > _LONGEST_NAME:
        raise UsageError(f"{path} {one_line(name)}: too long for a file name ({len(name):,} characters)")


def _convert_items(value: Any, hint: Any, path: str) -> Any:
    origin, parts = get_origin(hint), get_args(hint)
    items = value.tolist() if hasattr(value, "tolist") else value  # an array
    if not isinstance(items, Iterable if origin is Iterable else Sequence) or isinstance(items, str | bytes):
        raise MismatchError(value, hint, path)
    items = items if isinstance(items, list | tuple) else list(items)
    if _are_exactly(items, parts[0]):
        return items
    converted = [convert(item, parts[0], f"{path}[{place}]") for place, item in enumerate(items)]
    return tuple(converted) if isinstance(items, tuple) else converted


def _are_exactly(items: Iterable[Any], hint: Any) -> bool:
    """Return whether all items, or all items of nested lists and tuples, already have the declared plain type."""
    if isinstance(hint, type):
        return all(type(item) is hint for item in items)
    if get_origin(hint) not in (Sequence, Iterable) or not all(type(item) in (list, tuple) for item in items):
        return False
    return _are_exactly([part for item in items for part in item], get_args(hint)[0])
