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
    items = []
    while runs:
        length = _range_length(runs)
        (stage, times), last = runs[0], runs[length - 1][0]
        if length > 1:
            items.append(f"{stage[0]}-{last[0]}")
        else:
            items.append(print_stage(stage) + (f"*{times}" if times > 1 else ""))
        runs = runs[length:]
    return " ".join(items)


def _range_length(runs: list[tuple[Stage, int]]) -> int:
    """Return how many of the first runs make one range: single blocks, each once, rising or falling by one."""
    blocks = []
    for stage, times in runs:
        if len(stage) > 1 or times > 1:
            break
        blocks.append(stage[0])
    length = min(len(blocks), 2)
    if length < 2 or abs(blocks[1] - blocks[0]) != 1:
        return 1
    step = blocks[1] - blocks[0]
    while length < len(blocks) and blocks[length] - blocks[length - 1] == step:
        length += 1
    return length
