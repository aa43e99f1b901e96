"""Describe the contents of a kind of file by a schema."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

__all__ = ["FileSchema", "Holds", "Variable", "plain_value", "text_fault"]


class Holds(StrEnum):
    """The types of a variable."""

    FLOAT = "floats"
    INTEGER = "integers"
    NUMBER = "numbers"
    TEXT = "text"


@dataclass(frozen=True)
class Variable:
    """A variable of a file.

    Attributes
    ----------
    dims
        Its dimensions, in order.
    holds
        The type of its values.
    required
        Whether a file without it is refused.
    may_label
        Another dimension that it may have, if the variable of its first dimension contains its values: see
        `layerscope.store.opening.open_capture`.
    """

    dims: tuple[str, ...]
    holds: Holds
    required: bool = False
    may_label: str | None = None


@dataclass(frozen=True)
class FileSchema:
    """The contents of one kind of file.

    Attributes
    ----------
    kind
        The kind in messages: ``analysis file``.
    command
        The command that writes such files.
    remedy
        The remedy for a damaged file, for messages.
    variables
        The variables by name. Other variables are allowed, and their storage is checked.
    attributes
        Types of the file's attributes, if present.
    one_of
        The variables of which a file has at least one, the usual one first, and the variables that each needs.
    required_attributes
        The attributes that a file must have.
    variable_attributes
        Types of attributes of any variable, if present.
    endings
        Variables with variable names, by the endings of their names.
    as_stored
        Whether values are read without xarray, which would unpack packed values.
    """

    kind: str
    command: str
    remedy: str
    variables: Mapping[str, Variable]
    one_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    attributes: Mapping[str, type] = field(default_factory=dict)
    required_attributes: tuple[str, ...] = ()
    variable_attributes: Mapping[str, type] = field(default_factory=dict)
    endings: Mapping[str, Variable] = field(default_factory=dict)
    as_stored: bool = False

    def missing(self, names: Collection[str]) -> list[str]:
        """Return the variables that a file with variables of these names lacks."""
        lacks = [name for name, one in self.variables.items() if one.required and name not in names]
        held = [name for name in self.one_of if name in names] or list(self.one_of)[:1]
        return [name for one in held for name in (one, *self.one_of[one]) if name not in names] + lacks

    def of(self, name: str) -> Variable | None:
        """Return the variable of this name, or of this end of a name; None if unknown."""
        known = self.variables.get(name)
        return known or next((one for ending, one in self.endings.items() if name.endswith(ending)), None)


def plain_value(value: object) -> str | int | float:
    """Return an attribute as str, int or float; netCDF writers keep a single number as an array of one.

    Examples
    --------
    >>> plain_value(np.array([3])), plain_value(b"tiny"), plain_value(np.array([1.0, 2.0]))
    (3, 'tiny', '[1.0, 2.0]')
    """
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, np.ndarray | np.generic):
        single = value.item() if value.size == 1 else value.tolist()
        return (
            single.decode()
            if isinstance(single, bytes)
            else single
            if isinstance(single, str | int | float)
            else str(single)
        )
    return value if isinstance(value, str | int | float) else str(value)


def text_fault(value: object) -> str | None:
    r"""Return why a value is not text that every output accepts, as a clause for messages; None if it is.

    h5py returns bytes that are not UTF-8 as surrogates.

    Examples
    --------
    >>> text_fault("tiny"), text_fault(3), text_fault("\udcff")
    (None, 'is int, not text', 'is not text in UTF-8')
    """
    if not isinstance(value, str):
        return f"is {type(value).__name__}, not text"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "is not text in UTF-8"
    return None
