"""Stages written out as text; `layerscope.schedules.grammar` says what the form is, and reads it. Knows no schedule."""

from collections.abc import Iterable
from itertools import groupby

__all__ = ["Stage", "print_explicit", "print_stage"]

Stage = tuple[int, ...]
"""Blocks that all read the same stream, and whose outputs (residual included) are averaged; one block is an ordinary one."""


def print_stage(stage: Stage) -> str:
    """Write one stage.

    Examples
    --------
    >>> print_stage((13,)), print_stage((9, 10, 11))
    ('13', '(9|10|11)')
    """
    return str(stage[0]) if len(stage) == 1 else f"({'|'.join(map(str, stage))})"


def print_explicit(stages: Iterable[Stage]) -> str:
    """Write stages in their explicit form, as short as ranges and stars of single stages make it.

    Examples
    --------
    >>> print_explicit([(0,), (1,), (2,), (2,), (1,), (0, 1)])
    '0-1 2*2 1 (0|1)'
    """
    runs = [(stage, len(list(equal))) for stage, equal in groupby(stages)]
    items, at = [], 0
    while at < len(runs):
        end = _range_end(runs, at)
        (stage, times), last = runs[at], runs[end - 1][0]
        if end - at > 1:
            items.append(f"{stage[0]}-{last[0]}")
        else:
            items.append(print_stage(stage) + (f"*{times}" if times > 1 else ""))
        at = end
    return " ".join(items)


def _range_end(runs: list[tuple[Stage, int]], start: int) -> int:
    """Return where the range ends that begins at a run: single blocks, each once, rising or falling by one."""
    end, step = start + 1, 0
    while end < len(runs) and all(len(stage) == times == 1 for stage, times in runs[end - 1 : end + 1]):
        difference = runs[end][0][0] - runs[end - 1][0][0]
        if abs(difference) != 1 or (step and difference != step):
            break
        end, step = end + 1, difference
    return end
