"""`Schedule`, a validated sequence of stages of block numbers."""

from collections.abc import Iterable

from layerscope.arguments import checked
from layerscope.errors import ScheduleError
from layerscope.schedules.grammar import MOST_STAGES, Stage, print_explicit

__all__ = ["Schedule", "Stage"]


class Schedule(tuple[Stage, ...]):
    """A sequence of stages that runs in place of blocks 0 … T-1.

    A schedule is a tuple of tuples of block numbers: it compares with and hashes like one. ``str`` gives the explicit
    form, which `layerscope.schedules.grammar.parse_explicit` parses.

    Attributes
    ----------
    depth
        T of the model that the schedule was made for; the functions of `layerscope.variants` set it. None for stages
        that are valid for every model with these blocks. It does not take part in comparisons.

    Raises
    ------
    ScheduleError
        No stage, an empty stage, a negative block, or more than 100,000 stages.

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
        """Validate the stages and return the schedule."""
        schedule = super().__new__(cls, map(tuple, stages))
        schedule.depth = depth
        if not schedule:
            raise ScheduleError("a schedule needs at least one stage")
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
        """Number of block calls over all stages."""
        return sum(map(len, self))

    def check_depth(self, depth: int) -> None:
        """Raise unless the schedule is valid for a model of `depth` blocks.

        Raises
        ------
        ScheduleError
            The schedule was made for another depth, or names a block that the model does not have.
        """
        if self.depth not in (None, depth):
            raise ScheduleError(
                f"the schedule was made for a model of {self.depth} blocks, and this one has {depth}: make it again for "
                f"{depth}, or write it as text to run exactly these blocks"
            )
        highest = max(map(max, self))
        if highest >= depth:
            raise ScheduleError(f"the schedule names block {highest}: a model of {depth} blocks has 0 to {depth - 1}")
