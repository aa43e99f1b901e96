"""Read and write the explicit text form of a schedule: ``0-12 17-13 (9|10|11)*3 18-29``.

The grammar is ``item {" " item}`` with ``item = (INT | INT-INT | "(" INT {"|" INT} ")") ["*" INT]``: a block, a range of
blocks that may descend, or parallel blocks. A star repeats the item; a range is repeated as one piece.
"""

import re
from collections.abc import Iterable
from itertools import groupby

from layerscope.errors import UsageError

__all__ = ["MOST_STAGES", "Stage", "parse_explicit", "print_explicit", "print_stage"]

Stage = tuple[int, ...]
"""Blocks that read the same stream and whose outputs (residual included) are averaged; usually a single block."""

MOST_STAGES = 100_000
"""Maximum length of a schedule. A longer one is a typing error and would only fill the memory."""

_DIGITS = 9
_INTEGER = re.compile("[0-9]+")


class _Scanner:
    """Scanner over one line of text; it knows the column, counted from 1, for messages."""

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
        """Return the error that points at the last number."""
        self._at = self._last
        return self.wrong(what)

    def wrong(self, what: str) -> UsageError:
        return UsageError(
            f"schedule {self._text!r}, column {self._at + 1}: {what}.\n"
            "Write blocks (13), ranges (0-12 or 17-13), parallel blocks ((9|10|11)), each repeated with *K."
        )


def parse_explicit(text: str) -> list[Stage]:
    """Parse the explicit form of a schedule into its stages.

    Parameters
    ----------
    text
        Items separated by one space.

    Returns
    -------
    list of Stage
        One stage for each block number and for each parenthesis.

    Raises
    ------
    UsageError
        The text is malformed; the message gives the column, from 1. The schedule has more than 100,000 stages.

    Examples
    --------
    >>> parse_explicit("0 3-2 (1|2)*2")
    [(0,), (3,), (2,), (1, 2), (1, 2)]
    """
    scanner, stages = _Scanner(text), list[Stage]()
    while True:
        item, times = _item(scanner), 1
        if scanner.take("*"):
            times = scanner.integer("how often to repeat")
            if times < 1:
                raise scanner.wrong_number("an item is repeated at least once")
        if len(stages) + len(item) * times > MOST_STAGES:
            raise scanner.wrong_number(f"more than {MOST_STAGES:,} stages")
        stages.extend(item * times)
        if scanner.ended:
            return stages
        scanner.require(" ")


def _item(scanner: _Scanner) -> list[Stage]:
    if scanner.take("("):
        stage = [scanner.integer("a block")]
        while scanner.take("|"):
            stage.append(scanner.integer("a block"))
        scanner.require("|", ")")
        return [tuple(stage)]
    first = scanner.integer("a block, a range or '('")
    if not scanner.take("-"):
        return [(first,)]
    last = scanner.integer("the last block of the range")
    step = 1 if last >= first else -1
    if abs(last - first) >= MOST_STAGES:
        raise scanner.wrong_number(f"more than {MOST_STAGES:,} stages")
    return [(block,) for block in range(first, last + step, step)]


def print_stage(stage: Stage) -> str:
    """Return one stage as text.

    Examples
    --------
    >>> print_stage((13,)), print_stage((9, 10, 11))
    ('13', '(9|10|11)')
    """
    return str(stage[0]) if len(stage) == 1 else f"({'|'.join(map(str, stage))})"


def print_explicit(stages: Iterable[Stage]) -> str:
    """Return stages in their explicit form, shortened by ranges and by stars after single stages.

    Examples
    --------
    >>> print_explicit([(0,), (1,), (2,), (2,), (1,), (0, 1)])
    '0-1 2*2 1 (0|1)'
    """
    repeats = [(stage, len(list(equal))) for stage, equal in groupby(stages)]
    items, at = [], 0
    while at < len(repeats):
        end = _range_end(repeats, at)
        (stage, times), last = repeats[at], repeats[end - 1][0]
        if end - at > 1:
            items.append(f"{stage[0]}-{last[0]}")
        else:
            items.append(print_stage(stage) + (f"*{times}" if times > 1 else ""))
        at = end
    return " ".join(items)


def _range_end(repeats: list[tuple[Stage, int]], start: int) -> int:
    """Return the end of the range that begins at `start`: single blocks, each once, rising or falling by one."""
    end, step = start + 1, 0
    while end < len(repeats) and all(len(stage) == times == 1 for stage, times in repeats[end - 1 : end + 1]):
        difference = repeats[end][0][0] - repeats[end - 1][0][0]
        if abs(difference) != 1 or (step and difference != step):
            break
        end, step = end + 1, difference
    return end
