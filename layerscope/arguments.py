"""Check the arguments of public functions against their annotations.

`checked` refuses a wrong argument before the function runs. The message gives the argument, its value and the expected type.
`layerscope.argument_types` converts values: numbers of numpy become numbers of Python, and arrays become lists where a list is
declared, so the function receives exactly the declared types. A declared iterable becomes a list too; a `Stream` is passed on
unread.

An annotation ``Annotated[T, "description", test]`` gives the description for messages and a test that the value must pass.
`layerscope.errors.at_least` checks ranges of numbers. This module does not import any public function.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, wraps
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, ParamSpec, TypeVar, get_type_hints

from layerscope.argument_types import UNREAD, MismatchError, convert
from layerscope.errors import UsageError, unknown_name

__all__ = ["Stream", "check_fields", "checked", "checked_with"]

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")
_Item = TypeVar("_Item")

Stream = Annotated[Iterable[_Item], UNREAD]
"""An iterable of any length, whose items the function checks as it reads them."""

_VARIADIC = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


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
    """Check like `checked`, and check ``**options`` against the keywords of the function that receives them.

    Parameters
    ----------
    other
        The function that receives the options.
    without
        Its keywords that are no options, because the caller sets them.

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
            convert(getattr(record, name), hint, name)
        except MismatchError as mismatch:
            raise UsageError(f"{type(record).__name__}: {mismatch}") from None


def _fitting(
    name: str,
    declared: Signature,
    hints: Mapping[str, Any],
    arguments: tuple[Any, ...],
    options: dict[str, Any],
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a call, converted to their declared types."""
    try:
        call = declared.bind(*arguments, **options)
    except TypeError as error:
        raise _unbound(name, declared, options, error) from None
    for argument, value in call.arguments.items():
        if argument not in hints or declared.parameters[argument].kind in _VARIADIC:
            continue
        try:
            call.arguments[argument] = convert(value, hints[argument], argument)
        except MismatchError as mismatch:
            raise UsageError(f"{name}: {mismatch}") from None
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
