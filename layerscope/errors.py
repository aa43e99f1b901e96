"""The errors that LayerScope raises, and functions that make their messages.

The tree, with the exit code of the command line::

    LayerScopeError        1
    ├── UsageError         2   wrong use: an unknown name, an existing output, a malformed option
    ├── ModelError         1   a model that is missing, corrupt, not understood
    ├── ScheduleError      1   a schedule that this model cannot run
    ├── TextsError         1   texts that are missing, empty, malformed
    ├── CaptureError       1   a capture that cannot continue: NaN, overflow, disk, a second writer
    ├── FileError          1   an invalid file: foreign, truncated, incomplete
    └── MeasureError       1   states a measure cannot be computed on: too few, mismatched, constant

A message has one or two lines: the problem, its place and the remedy. This module imports no other module of LayerScope.
"""

import os
from collections.abc import Iterable
from difflib import get_close_matches
from operator import index
from pathlib import Path
from typing import SupportsIndex

__all__ = [
    "MOST_DRAWS",
    "CaptureError",
    "FileError",
    "LayerScopeError",
    "MeasureError",
    "ModelError",
    "ScheduleError",
    "TextsError",
    "UsageError",
    "at_least",
    "missing_file",
    "two_lines",
    "unknown_name",
]

MOST_DRAWS = 1_000_000
"""The most replicates, pairings or splits of one analysis: their matrices are kept in memory."""

_SHOWN = 5  # files of a folder, at most
_SHOWN_NAMES = 20
_MOST = 2**63 - 1  # what a file or a generator of random numbers takes


class LayerScopeError(Exception):
    r"""Base of all errors that a user can fix.

    Its text has at most two lines, even if a name in it contains line breaks or control characters.

    Examples
    --------
    >>> print(FileError("a\nb.nc: there is no such file\ngive another"))
    a b.nc: there is no such file
    give another
    """

    exit_code = 1

    def __str__(self) -> str:
        return two_lines(super().__str__())


class UsageError(LayerScopeError):
    """The call itself is wrong."""

    exit_code = 2


class ModelError(LayerScopeError):
    """The model cannot be found, read or understood."""


class ScheduleError(LayerScopeError):
    """The schedule is not valid for this model."""


class TextsError(LayerScopeError):
    """The texts cannot be found, read or used."""


class CaptureError(LayerScopeError):
    """The capture cannot start or continue."""


class FileError(LayerScopeError):
    """A file is missing, damaged or of another kind."""


class MeasureError(LayerScopeError):
    """A measure is undefined for these states."""


def two_lines(message: str) -> str:
    r"""Return a message with all of its lines but the last in one, and its control characters escaped.

    Examples
    --------
    >>> two_lines("a\nb\x1bc.nc: there is no such file\ngive another")
    'a b\\x1bc.nc: there is no such file\ngive another'
    """
    *first, last = message.split("\n")
    return "\n".join("".join(map(_printable, line)) for line in ([" ".join(first), last] if first else [last]))


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error for an unknown name, with the most similar known one.

    Examples
    --------
    >>> print(unknown_name("measure", "cosin", ["cosine", "cka"]))
    unknown measure 'cosin': did you mean 'cosine'? Known: cosine, cka
    """
    known = list(known)
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    rest = f", … ({len(known)} in all)" if len(known) > _SHOWN_NAMES else ""
    return UsageError(f"unknown {kind} {name!r}: {hint}Known: {', '.join(known[:_SHOWN_NAMES])}{rest}")


def missing_file(path: str | os.PathLike[str]) -> str:
    """Return the message for a missing file, with a similar name, other files of its kind, or the missing folder.

    Examples
    --------
    >>> print(missing_file("nowhere/run.h5"))
    nowhere/run.h5: there is no such file, nor a folder nowhere
    """
    path = Path(path)
    message = f"{path}: there is no such file"
    if not path.parent.is_dir():
        return f"{message}, nor a folder {path.parent}"
    if not os.access(path.parent, os.R_OK):
        return message
    alike = sorted(entry.name for entry in path.parent.iterdir() if entry.suffix == path.suffix and entry.is_file())
    close = get_close_matches(path.name, alike, n=1)
    if close:
        return f"{message}; did you mean {path.with_name(close[0])}?"
    if not alike:
        return f"{message}, and no other {path.suffix or 'file'} in {path.parent.absolute()}"
    shown = ", ".join(alike[:_SHOWN]) + (", …" if len(alike) > _SHOWN else "")
    return f"{message}; {path.parent.absolute()} has {shown}"


def at_least(least: int, *, most: int = _MOST, remedy: str = "", **values: object) -> None:
    """Refuse numbers that are too low, too high or not whole, by argument name; None is allowed.

    Examples
    --------
    >>> at_least(1, batch_tokens=0)
    Traceback (most recent call last):
    layerscope.errors.UsageError: batch_tokens 0: must be 1 or more
    >>> at_least(0, bootstrap=2.5)
    Traceback (most recent call last):
    layerscope.errors.UsageError: bootstrap 2.5: must be a whole number
    >>> at_least(0, most=1_000, bootstrap=10**30)
    Traceback (most recent call last):
    layerscope.errors.UsageError: bootstrap 1e+30: must be at most 1,000
    """
    for name, value in values.items():
        if value is None:
            continue
        if not isinstance(value, SupportsIndex):
            raise UsageError(f"{name} {value!r}: must be a whole number")
        if index(value) < least:
            raise UsageError(f"{name} {value}: must be {least} or more{remedy and '; '}{remedy}")
        if index(value) > most:
            raise UsageError(f"{name} {index(value):g}: must be at most {most:,}")
