"""Execution variants of the paper, as functions that return a schedule.

One rule covers every range variant: of T blocks, blocks N+1 to T-N-1 inclusive are affected, M = T-2N-1 of them. The first
N+1 and the last N blocks run as usual. The prose of arXiv 2407.09298 is off by one in places; its code and its example,
N = 13 of 32 with 5 blocks skipped, follow this rule.
"""

import random as _random
from collections.abc import Iterable, Sequence
from typing import Annotated

from layerscope.arguments import checked
from layerscope.errors import ScheduleError
from layerscope.schedules.schedule import Schedule, Stage

_DEEPEST, _MOST_TIMES = 100_000, 10_000  # a larger number is a typing error and would only fill the memory

__all__ = [
    "affected",
    "drop",
    "identity",
    "looped_parallel",
    "middle_repeat",
    "parallel",
    "random",
    "repeat",
    "repeat_each",
    "reverse",
    "skip",
    "starts",
    "swap",
]


Depth = Annotated[int, f"a whole number up to {_DEEPEST:,}", lambda depth: depth <= _DEEPEST]
"""T, the number of blocks of a model."""

Times = Annotated[int, f"a whole number up to {_MOST_TIMES:,}", lambda times: times <= _MOST_TIMES]
"""Number of runs of a block or range."""


@checked
def starts(depth: Depth) -> range:
    """Return every valid start N of a range variant: with at least one affected block.

    Examples
    --------
    >>> list(starts(6))
    [0, 1, 2]
    """
    return range((depth - 2) // 2 + 1)


@checked
def affected(depth: Depth, start: int) -> range:
    """Return the blocks that a range variant affects: N+1 … T-N-1.

    Raises
    ------
    ScheduleError
        No block is affected.

    Examples
    --------
    >>> list(affected(32, start=13))
    [14, 15, 16, 17, 18]
    """
    if start not in starts(depth):
        valid = starts(depth)
        remedy = f"start is 0 to {valid[-1]}" if valid else "the model is too shallow"
        raise ScheduleError(f"start {start} leaves no block affected in a model of {depth} blocks: {remedy}")
    return range(start + 1, depth - start)


def _around(depth: int, start: int, middle: Iterable[Stage]) -> Schedule:
    """Return the schedule with `middle` in place of the affected blocks."""
    blocks = affected(depth, start)
    return Schedule([*_singly(range(blocks.start)), *middle, *_singly(range(blocks.stop, depth))], depth)


def _singly(blocks: Iterable[int]) -> list[Stage]:
    return [(block,) for block in blocks]


@checked
def identity(depth: Depth) -> Schedule:
    """Run all blocks in their own order.

    Examples
    --------
    >>> print(identity(4))
    0-3
    """
    return Schedule(_singly(range(depth)), depth)


@checked
def skip(depth: Depth, start: int) -> Schedule:
    """Leave the affected blocks out.

    Examples
    --------
    >>> print(skip(8, start=2))
    0-2 6-7
    """
    return _around(depth, start, [])


@checked
def middle_repeat(depth: Depth, start: int) -> Schedule:
    """Run block T//2 in place of each affected block.

    Examples
    --------
    >>> print(middle_repeat(8, start=2))
    0-2 4*3 6-7
    """
    return _around(depth, start, _singly([depth // 2] * len(affected(depth, start))))


@checked
def reverse(depth: Depth, start: int) -> Schedule:
    """Run the affected blocks last to first.

    Examples
    --------
    >>> print(reverse(8, start=2))
    0-2 5-3 6-7
    """
    return _around(depth, start, _singly(reversed(affected(depth, start))))


@checked
def random(depth: Depth, start: int, seed: int = 0) -> Schedule:
    """Shuffle the affected blocks once, with ``random.Random(seed).shuffle``.

    Examples
    --------
    >>> print(random(8, start=1, seed=0))
    0-1 4-2 6-5 7
    """
    shuffled = list(affected(depth, start))
    _random.Random(seed).shuffle(shuffled)
    return _around(depth, start, _singly(shuffled))


@checked
def parallel(depth: Depth, start: int) -> Schedule:
    """Run all affected blocks on the same stream, and average their outputs.

    Examples
    --------
    >>> print(parallel(8, start=2))
    0-2 (3|4|5) 6-7
    """
    return looped_parallel(depth, start, loops=1)


@checked
def looped_parallel(depth: Depth, start: int, loops: Times = 3) -> Schedule:
    """Run `parallel` `loops` times, each time on the previous average.

    Examples
    --------
    >>> print(looped_parallel(8, start=2))
    0-2 (3|4|5)*3 6-7
    """
    return _around(depth, start, [tuple(affected(depth, start))] * _at_least_once("loops", loops))


@checked
def drop(depth: Depth, block: int) -> Schedule:
    """Leave one block out.

    Examples
    --------
    >>> print(drop(4, block=1))
    0 2-3
    """
    _present(depth, block)
    if depth == 1:
        raise ScheduleError("the model has a single block: it cannot be dropped")
    return Schedule(_singly(other for other in range(depth) if other != block), depth)


@checked
def swap(depth: Depth, block: int) -> Schedule:
    """Swap a block with the next one.

    Examples
    --------
    >>> print(swap(4, block=1))
    0 2-1 3
    """
    _present(depth, block)
    if block == depth - 1:
        raise ScheduleError(f"block {block} is the last of {depth}: there is no next block to swap with")
    return Schedule(_singly([*range(block), block + 1, block, *range(block + 2, depth)]), depth)


@checked
def repeat(depth: Depth, first: int, last: int, times: Times = 2) -> Schedule:
    """Run the range of blocks `first` to `last` `times` times.

    Examples
    --------
    >>> print(repeat(6, first=2, last=3))
    0-3 2-5
    """
    blocks = _range(depth, first, last)
    return _in_place_of(blocks, depth, [*blocks] * _at_least_once("times", times))


@checked
def repeat_each(depth: Depth, first: int, last: int, times: Times = 2) -> Schedule:
    """Run each of the blocks `first` to `last` `times` times before the next.

    Examples
    --------
    >>> print(repeat_each(6, first=2, last=3))
    0-1 2*2 3*2 4-5
    """
    blocks, times = _range(depth, first, last), _at_least_once("times", times)
    return _in_place_of(blocks, depth, [block for block in blocks for _ in range(times)])


def _range(depth: int, first: int, last: int) -> range:
    _present(depth, first)
    _present(depth, last)
    if last < first:
        raise ScheduleError(f"the range {first}-{last} is empty: name the lower block first")
    return range(first, last + 1)


def _in_place_of(blocks: range, depth: int, middle: Sequence[int]) -> Schedule:
    return Schedule(_singly([*range(blocks.start), *middle, *range(blocks.stop, depth)]), depth)


def _present(depth: int, block: int) -> None:
    if not 0 <= block < depth:
        raise ScheduleError(f"there is no block {block}: a model of {depth} blocks has 0 to {depth - 1}")


def _at_least_once(what: str, times: int) -> int:
    if times < 1:
        raise ScheduleError(f"{what} {times}: must be 1 or more")
    return times
