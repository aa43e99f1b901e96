"""Argument checks of the public functions: one decorator that reads a function's own annotations.

`checked` refuses a wrong argument before the function runs. The message names the argument, what it is, and what is expected.
Numbers of numpy become numbers of Python, arrays become lists where a list is declared, so the function receives exactly the
declared types. A declared iterable becomes a list too; a `Stream` is left to the function, which reads it item by item.

An annotation ``Annotated[T, "words", test]`` says what is expected in these words, and a value must pass the test if there
is one. Ranges of numbers are checked elsewhere, by `layerscope.errors.at_least`. This module knows no public function.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, wraps
from inspect import Parameter, Signature, signature
from numbers import Integral, Real
from reprlib import Repr
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from layerscope.errors import UsageError, unknown_name

__all__ = ["Stream", "check_fields", "checked", "checked_with"]

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

_Item = TypeVar("_Item")
_UNREAD = object()

Stream = Annotated[Iterable[_Item], _UNREAD]
"""An iterable of any length, whose items the function checks as it reads them."""

_VARIADIC = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
_LONGEST_PATH, _LONGEST_NAME = 4095, 255  # of Linux, in bytes
_PLAIN = (bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset)
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


def checked(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Check the arguments of each call against the function's annotations.

    Raises
    ------
    UsageError
        At a call: an argument is missing, unknown or not of its declared type.

    Examples
    --------
    >>> @checked
    ... def keep(layers: Annotated[str, 'a string such as "0,5-10"'] | None, limit: int = 1) -> None: ...
    >>> keep([0, 1])
    Traceback (most recent call last):
    layerscope.errors.UsageError: keep: layers [0, 1] is a list; expected a string such as "0,5-10", or None
    >>> keep(None, limits=3)
    Traceback (most recent call last):
    layerscope.errors.UsageError: unknown argument of keep 'limits': did you mean 'limit'? Known: layers, limit
    """
    return _checking(function, signature(function), (function,))


def checked_with(
    other: Callable[..., object], *, without: Sequence[str] = ()
) -> Callable[[Callable[_Parameters, _Result]], Callable[_Parameters, _Result]]:
    """Check as `checked` does, and ``**options`` against the keywords of the function that they are passed on to.

    Parameters
    ----------
    other
        That function.
    without
        Keywords of it that are no option, since the caller itself gives them.

    Examples
    --------
    >>> def draw(*, seed: int = 0, limit: int = 1) -> None: ...
    >>> @checked_with(draw, without=["limit"])
    ... def show(name: str, **options: Any) -> None: ...
    >>> show("a", seed="x")
    Traceback (most recent call last):
    layerscope.errors.UsageError: show: seed 'x' is a str; expected a whole number
    >>> show("a", limit=3)
    Traceback (most recent call last):
    layerscope.errors.UsageError: unknown argument of show 'limit': Known: name, seed
    """

    def decorate(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
        own, passed_on = signature(function), signature(other).parameters
        left = {name: one for name, one in passed_on.items() if name not in own.parameters and name not in without}
        keywords = [one for one in left.values() if one.kind is Parameter.KEYWORD_ONLY]
        named = [one for one in own.parameters.values() if one.kind is not Parameter.VAR_KEYWORD]
        return _checking(function, own.replace(parameters=[*named, *keywords]), (other, function))

    return decorate


def _checking(
    function: Callable[_Parameters, _Result], declared: Signature, annotated: tuple[Callable[..., object], ...]
) -> Callable[_Parameters, _Result]:
    name = function.__qualname__.removesuffix(".__init__").removesuffix(".__new__")

    @wraps(function)
    def checking(*arguments: _Parameters.args, **options: _Parameters.kwargs) -> _Result:
        arguments, options = _fitting(name, declared, _hints(annotated), arguments, options)  # type: ignore[assignment]
        return function(*arguments, **options)

    return checking


def check_fields(record: object) -> None:
    """Check the fields of a dataclass against their annotations: for its ``__post_init__``.

    Raises
    ------
    UsageError
        A field is not of its declared type.
    """
    for name, hint in get_type_hints(type(record), include_extras=True).items():
        try:
            _fit(getattr(record, name), hint, name)
        except _Misfit as misfit:
            raise UsageError(f"{type(record).__name__}: {misfit}") from None


def _fitting(
    name: str,
    declared: Signature,
    hints: Mapping[str, Any],
    arguments: tuple[Any, ...],
    options: dict[str, Any],
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a call as they are declared."""
    try:
        call = declared.bind(*arguments, **options)
    except TypeError as error:
        raise _unbound(name, declared, options, error) from None
    for argument, value in call.arguments.items():
        if argument not in hints or declared.parameters[argument].kind in _VARIADIC:
            continue
        try:
            call.arguments[argument] = _fit(value, hints[argument], argument)
        except _Misfit as misfit:
            raise UsageError(f"{name}: {misfit}") from None
    return call.args, call.kwargs


def _unbound(name: str, declared: Signature, options: Mapping[str, Any], error: TypeError) -> UsageError:
    known = [parameter for parameter in declared.parameters if parameter not in ("self", "cls")]
    unknown = next((option for option in options if option not in known), None)
    if unknown is None or any(parameter.kind in _VARIADIC for parameter in declared.parameters.values()):
        return UsageError(f"{name}: {error}")
    return unknown_name(f"argument of {name}", unknown, known)


@cache
def _hints(functions: tuple[Callable[..., object], ...]) -> dict[str, Any]:
    return {name: hint for one in functions for name, hint in get_type_hints(one, include_extras=True).items()}


class _Misfit(Exception):  # noqa: N818  # it never leaves this module
    """A value that is not of the declared type; `path` says which one, as in ``sinks[1]``."""

    def __init__(self, value: object, hint: object, path: str) -> None:
        self.path = path
        kind = "None" if value is None else _with_article(type(value).__name__)
        shown = f" {_one_line(value)}" if isinstance(value, _PLAIN) else ""
        super().__init__(f"{path}{shown} is {kind}; expected {_describe(hint)}")


def _fit(value: Any, hint: Any, path: str) -> Any:
    """Return a value as its annotation declares it."""
    origin, parts = get_origin(hint) or hint, get_args(hint)
    if origin is Annotated:
        return _fit_annotated(value, hint, path)
    if origin in (Union, UnionType):
        return _fit_one(value, hint, path)
    if origin is bool and (type(value).__name__ == "bool" or (isinstance(value, Integral) and value in (0, 1))):
        return bool(value)  # numpy's own bool has the name of Python's
    number = not isinstance(value, bool)
    if origin is int and number and isinstance(value, Integral):
        return int(value)
    if origin is float and number and isinstance(value, Real):
        return float(value)
    if origin in (Sequence, list, tuple, Iterable) and parts:
        return _fit_items(value, hint, path)
    if origin is Mapping and parts and isinstance(value, Mapping):
        return {_fit(key, parts[0], path): _fit(item, parts[1], f"{path}[{key!r}]") for key, item in value.items()}
    if origin in (bool, int, float) or not _is(value, origin, parts):
        raise _Misfit(value, hint, path)
    return value


def _is(value: object, origin: Any, parts: tuple[Any, ...]) -> bool:
    if origin is Any or isinstance(origin, TypeVar):
        return True
    if origin is Literal:
        return any(type(value) is type(part) and value == part for part in parts)
    if methods := _methods(origin):
        return not isinstance(value, type) and all(callable(getattr(value, name, None)) for name in methods)
    return isinstance(value, NoneType if origin is None else origin)


def _methods(origin: Any) -> list[str]:
    """Return the names of the methods that a protocol asks for; none of any other type."""
    if not getattr(origin, "_is_protocol", False):
        return []
    return [name for name, member in vars(origin).items() if callable(member) and not name.startswith("_")]


def _fit_annotated(value: Any, hint: Any, path: str) -> Any:
    declared, *notes = get_args(hint)
    if _UNREAD in notes and isinstance(value, Iterable):
        return value
    try:
        fitted = _fit(value, declared, path)
    except _Misfit as misfit:
        raise (misfit if misfit.path != path else _Misfit(value, hint, path)) from None
    if not all(test(fitted) for test in notes if callable(test)):
        raise _Misfit(value, hint, path)
    return fitted


def _fit_one(value: Any, hint: Any, path: str) -> Any:
    """Fit a value to the first type of a union that takes it; complain of an item where only an item is wrong."""
    deepest = _Misfit(value, hint, path)
    if os.PathLike[str] in get_args(hint) and isinstance(value, str | os.PathLike):
        _require_possible_path(value, path)
    for part in get_args(hint):
        try:
            return _fit(value, part, path)
        except _Misfit as misfit:
            deepest = misfit if len(misfit.path) > len(deepest.path) else deepest
    raise deepest


def _require_possible_path(value: "str | os.PathLike[str]", path: str) -> None:
    """Refuse what no file can be called, before the system does so in the middle of the work."""
    name = os.fspath(value)
    if not isinstance(name, str) or "\0" in name:
        raise UsageError(f"{path} {_one_line(name)}: a file name is text without NUL characters")
    if len(name.encode(errors="surrogateescape")) > _LONGEST_PATH or max(map(len, name.split("/"))) > _LONGEST_NAME:
        raise UsageError(f"{path} {_one_line(name)}: too long for a file name ({len(name):,} characters)")


def _fit_items(value: Any, hint: Any, path: str) -> Any:
    origin, parts = get_origin(hint), get_args(hint)
    items = value.tolist() if hasattr(value, "tolist") else value  # an array
    if not isinstance(items, Iterable if origin is Iterable else Sequence) or isinstance(items, str | bytes):
        raise _Misfit(value, hint, path)
    items = items if isinstance(items, list | tuple) else list(items)
    if _are_exactly(items, parts[0]):
        return items
    fitted = [_fit(item, parts[0], f"{path}[{place}]") for place, item in enumerate(items)]
    return tuple(fitted) if isinstance(items, tuple) else fitted


def _are_exactly(items: Iterable[Any], hint: Any) -> bool:
    """Tell whether all items are of a plain type, or lists and tuples of it: then nothing is left to fit."""
    if isinstance(hint, type):
        return all(type(item) is hint for item in items)
    if get_origin(hint) not in (Sequence, Iterable) or not all(type(item) in (list, tuple) for item in items):
        return False
    return _are_exactly([part for item in items for part in item], get_args(hint)[0])


def _describe(hint: Any, many: bool = False) -> str:
    """Say in words what an annotation expects, in the plural for `many`."""
    origin, parts = get_origin(hint) or hint, get_args(hint)
    if origin is Annotated:
        return parts[1] if isinstance(parts[1], str) else _describe(parts[0], many)
    if origin in (Union, UnionType):
        *most, last = dict.fromkeys(_describe(part, many) for part in parts)
        return f"{', '.join(most)}{',' * (last == 'None' or len(most) > 1)} or {last}" if most else last
    if origin is Literal:
        return f"one of {', '.join(map(repr, parts))}"
    if methods := _methods(origin):
        return f"{'objects' if many else 'an object'} with {' and '.join(f'{name}()' for name in methods)}"
    if origin is bool or origin in (None, NoneType):
        return "True or False" if origin is bool else "None"
    noun = _NOUNS.get(origin) or origin.__name__
    words = f"{noun}s" if many else _with_article(noun)
    listed = origin in (Sequence, list, tuple, Iterable) and parts
    return f"{words} of {_describe(parts[0], many=True)}" if listed else words


def _with_article(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def _one_line(value: object) -> str:
    return " ".join(_SHORT.repr(value).split())
