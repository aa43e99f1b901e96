"""The state of the full model that each stage of a schedule is compared with, for drift."""

from layerscope.schedules.schedule import Schedule

__all__ = ["reference_states"]


def reference_states(schedule: Schedule, depth: int) -> tuple[int, ...]:
    """Return, for each stage, the number of the full model's state that its output is compared with.

    Where a schedule starts like the model (blocks 0, 1, …) and where it ends like it (…, T-2, T-1), a stage is compared
    with the state after its own block. The stages in between are assigned to the states in between in equal steps,
    rounded up. With as many stages as blocks (reverse, random, middle repeat) that is one state for each stage; a
    single parallel stage, which replaces all of these blocks, is compared with the last of the states.

    Examples
    --------
    >>> from layerscope.schedules import variants
    >>> reference_states(variants.skip(8, 2), depth=8)
    (1, 2, 3, 7, 8)
    >>> reference_states(variants.looped_parallel(8, 2, loops=2), depth=8)
    (1, 2, 3, 5, 6, 7, 8)
    """
    head = 0
    while head < min(len(schedule), depth) and schedule[head] == (head,):
        head += 1
    tail, room = 0, min(len(schedule), depth) - head
    while tail < room and schedule[-1 - tail] == (depth - 1 - tail,):
        tail += 1
    stages, blocks = len(schedule) - head - tail, depth - head - tail
    between = [head + -(-step * blocks // stages) for step in range(1, stages + 1)]
    return (*range(1, head + 1), *between, *range(depth - tail + 1, depth + 1))
