"""Schemas: what a file of one kind contains."""

from collections.abc import Mapping
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
    """

    dims: tuple[str, ...]
    holds: Holds
    required: bool = False


@dataclass(frozen=True)
class FileSchema:
    """What files of one kind contain.

    Attributes
    ----------
    kind
        What such a file is called in messages: ``analysis file``.
    command
        The command that writes such files.
    remedy
        What to do about a damaged one.
    variables
        By name. Other variables are allowed; their storage is checked all the same.
    attributes
        Types of the file's attributes, where present.
    required_attributes
        Those without which a file is refused.
    variable_attributes
        Types of attributes of any variable, where present.
    endings
        Variables that are named after something else, by the ends of their names.
    as_stored
        Whether values are read without xarray, which would unpack packed values.
    """

    kind: str
    command: str
    remedy: str
    variables: Mapping[str, Variable]
    attributes: Mapping[str, type] = field(default_factory=dict)
    required_attributes: tuple[str, ...] = ()
    variable_attributes: Mapping[str, type] = field(default_factory=dict)
    endings: Mapping[str, Variable] = field(default_factory=dict)
    as_stored: bool = False

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
