"""Describe types and values for the messages about arguments."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from reprlib import Repr
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

__all__ = ["describe_type", "one_line", "protocol_methods", "with_article"]

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 40
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = 4

_NOUNS: dict[Any, str] = {
    int: "whole number",
    float: "number",
    str: "string",
    os.PathLike: "path",
    Callable: "function",
    Mapping: "mapping",
    Iterable: "iterable",
    Sequence: "list",
}


def describe_type(hint: Any, many: bool = False) -> str:
    """Describe the values that an annotation accepts; in the plural for `many`."""
    origin, parts = get_origin(hint) or hint, get_args(hint)
    if origin is Annotated:
        return parts[1] if isinstance(parts[1], str) else describe_type(parts[0], many)
    if origin in (Union, UnionType):
        *most, last = dict.fromkeys(describe_type(part, many) for part in parts)
        return f"{', '.join(most)}{',' * (last == 'None' or len(most) > 1)} or {last}" if most else last
    if origin is Literal:
        return f"one of {', '.join(map(repr, parts))}"
    if methods := protocol_methods(origin):
        return f"{'objects' if many else 'an object'} with {' and '.join(f'{name}()' for name in methods)}"
    if origin is bool or origin in (None, NoneType):
        return "True or False" if origin is bool else "None"
    noun = _NOUNS.get(origin) or origin.__name__
    words = f"{noun}s" if many else with_article(noun)
    listed = origin in (Sequence, list, tuple, Iterable) and parts
    return f"{words} of {describe_type(parts[0], many=True)}" if listed else words


def with_article(noun: str) -> str:
    """Return a noun with its indefinite article."""
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def one_line(value: object) -> str:
    """Return a short representation of a value on one line."""
    return " ".join(_SHORT.repr(value).split())


def protocol_methods(origin: Any) -> list[str]:
    """Return the method names of a protocol; an empty list for any other type."""
    if not getattr(origin, "_is_protocol", False):
        return []
    return [name for name, member in vars(origin).items() if callable(member) and not name.startswith("_")]
