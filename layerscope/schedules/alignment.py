"""Which state of the full model each stage of a schedule is to be compared with."""

from layerscope.schedules.schedule import Schedule

__all__ = ["reference_states"]


def reference_states(schedule: Schedule, depth: int) -> tuple[int, ...]:
    """Return for each stage the number of the full model's state that its stream is held against.

    Where a schedule begins like the model (blocks 0, 1, …) and where it ends like it (…, T-2, T-1), a stage is held against the
    state that leaves its own block. The stages between go through the states between in equal steps, rounded up: in as many
    stages as blocks (reverse, random, middle repeat) that is one state a stage; a parallel stage, which stands for all of
    them, is held against the last.

    Examples
    --------
    >>> from layerscope.schedules import variants
    >>> reference_states(variants.skip(8, 2), depth=8)
    (1, 2, 3, 7, 8)
    >>> reference_states(variants.looped_parallel(8, 2, loops=2), depth=8)
    (1, 2, 3, 5, 6, 7, 8)
    """
    begins = 0
    while begins < min(len(schedule), depth) and schedule[begins] == (begins,):
        begins += 1
    ends, room = 0, min(len(schedule), depth) - begins
    while ends < room and schedule[-1 - ends] == (depth - 1 - ends,):
        ends += 1
    stages, blocks = len(schedule) - begins - ends, depth - begins - ends
    between = [begins + -(-step * blocks // stages) for step in range(1, stages + 1)]
    return (*range(1, begins + 1), *between, *range(depth - ends + 1, depth + 1))
