"""The explicit text form of a schedule, read: ``0-12 17-13 (9|10|11)*3 18-29``.

``item {" " item}`` with ``item = (INT | INT-INT | "(" INT {"|" INT} ")") ["*" INT]``: a block, a range of blocks that may
descend, or blocks that read the same stream; a star repeats the item, a range as a whole.
"""

import re

from layerscope.errors import UsageError
from layerscope.schedules.schedule import MOST_STAGES, Schedule, Stage

__all__ = ["parse_explicit"]

_DIGITS = 9
_INTEGER = re.compile("[0-9]+")


class _Reader:
    """One line of text, read from left to right; it knows the column, from 1, for messages."""

    def __init__(self, text: str) -> None:
        self._text, self._at, self._last = text, 0, 0

    @property
    def ended(self) -> bool:
        return self._at == len(self._text)

    def take(self, sign: str) -> bool:
        found = self._text.startswith(sign, self._at)
        self._at += len(sign) * found
        return found

    def require(self, *signs: str) -> None:
        if not any(self.take(sign) for sign in signs):
            raise self.wrong("expected " + " or ".join(repr(sign) for sign in signs) + f", found {self._found}")

    def integer(self, what: str) -> int:
        match = _INTEGER.match(self._text, self._at)
        if match is None:
            raise self.wrong(f"expected {what}, found {self._found}")
        if len(match[0]) > _DIGITS:
            raise self.wrong(f"{match[0][:_DIGITS]}… is too large a number")
        self._last, self._at = self._at, match.end()
        return int(match[0])

    @property
    def _found(self) -> str:
        return "the end" if self.ended else repr(self._text[self._at])

    def wrong_number(self, what: str) -> UsageError:
        """Complain of the number read last."""
        self._at = self._last
        return self.wrong(what)

    def wrong(self, what: str) -> UsageError:
        return UsageError(
            f"schedule {self._text!r}, column {self._at + 1}: {what}.\n"
            "Write blocks (13), ranges (0-12 or 17-13), parallel blocks ((9|10|11)), each repeated with *K."
        )


def parse_explicit(text: str) -> Schedule:
    """Read a schedule from its explicit form.

    Parameters
    ----------
    text
        Items with one space between.

    Returns
    -------
    Schedule
        Each number a stage of one block, each parenthesis one stage.

    Raises
    ------
    UsageError
        Malformed text, with the column (from 1); a schedule of more than 100,000 stages.

    Examples
    --------
    >>> parse_explicit("0 3-2 (1|2)*2")
    ((0,), (3,), (2,), (1, 2), (1, 2))
    """
    reader, stages = _Reader(text), list[Stage]()
    while True:
        item, times = _item(reader), 1
        if reader.take("*"):
            times = reader.integer("how often to repeat")
            if times < 1:
                raise reader.wrong_number("an item is repeated at least once")
        if len(stages) + len(item) * times > MOST_STAGES:
            raise reader.wrong_number(f"more than {MOST_STAGES:,} stages")
        stages.extend(item * times)
        if reader.ended:
            return Schedule(stages)
        reader.require(" ")


def _item(reader: _Reader) -> list[Stage]:
    if reader.take("("):
        stage = [reader.integer("a block")]
        while reader.take("|"):
            stage.append(reader.integer("a block"))
        reader.require("|", ")")
        return [tuple(stage)]
    first = reader.integer("a block, a range or '('")
    if not reader.take("-"):
        return [(first,)]
    last = reader.integer("the last block of the range")
    step = 1 if last >= first else -1
    if abs(last - first) >= MOST_STAGES:
        raise reader.wrong_number(f"more than {MOST_STAGES:,} stages")
    return [(block,) for block in range(first, last + step, step)]
