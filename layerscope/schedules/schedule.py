"""What a schedule is: stages of block numbers, and what they cost. Knows no variant and reads no text."""

from collections.abc import Iterable

from layerscope.arguments import checked
from layerscope.errors import ScheduleError
from layerscope.schedules.printing import Stage, print_explicit

__all__ = ["MOST_STAGES", "Schedule", "Stage"]

MOST_STAGES = 100_000
"""Of one schedule: a longer one is a slip of the pen, and would only fill the memory."""


class Schedule(tuple[Stage, ...]):
    """A sequence of stages: what runs in place of blocks 0 … T-1.

    A tuple of tuples of block numbers, so it compares with and hashes like one. Printed, it is the explicit form that
    `layerscope.schedules.grammar.parse_explicit` reads back. Made from the stages in order, each a sequence of block numbers.

    Attributes
    ----------
    depth
        T of the models it was made for, as `layerscope.variants` do; None for stages that are right wherever their blocks exist.
        Two schedules of the same stages are equal whatever they were made for.

    Raises
    ------
    ScheduleError
        No stage at all, an empty stage, a negative block, more than 100,000 stages.

    Examples
    --------
    >>> schedule = Schedule([(0,), (1, 2), (1, 2), (3,)])
    >>> print(schedule)
    0 (1|2)*2 3
    >>> schedule.block_calls, len(schedule)
    (6, 4)
    >>> schedule == ((0,), (1, 2), (1, 2), (3,))
    True
    """

    depth: int | None

    @checked
    def __new__(cls, stages: Iterable[Iterable[int]], depth: int | None = None) -> "Schedule":
        """Check the stages and keep them."""
        schedule = super().__new__(cls, map(tuple, stages))
        schedule.depth = depth
        if not schedule:
            raise ScheduleError("a schedule needs at least one stage: nothing would run")
        if len(schedule) > MOST_STAGES:
            raise ScheduleError(f"the schedule has {len(schedule):,} stages, and the most is {MOST_STAGES:,}")
        for number, stage in enumerate(schedule):
            if not stage:
                raise ScheduleError(f"stage {number} is empty: name at least one block")
            if min(stage) < 0:
                raise ScheduleError(f"stage {number} names block {min(stage)}: blocks count from 0")
        return schedule

    def __str__(self) -> str:
        return print_explicit(self)

    @property
    def block_calls(self) -> int:
        """How many times a block runs, all stages counted."""
        return sum(map(len, self))

    def check_depth(self, depth: int) -> None:
        """Refuse a schedule that was made for another depth, or names a block which a model of `depth` blocks has not.

        Raises
        ------
        ScheduleError
            When it was or does.
        """
        if self.depth not in (None, depth):
            raise ScheduleError(
                f"the schedule was made for a model of {self.depth} blocks, and this one has {depth}: make it anew for {depth}, "
                "or write it as text to run these very blocks"
            )
        highest = max(map(max, self))
        if highest >= depth:
            raise ScheduleError(f"the schedule names block {highest}: a model of {depth} blocks has 0 to {depth - 1}")
