"""Schedules joined by their beginnings: nothing lost, nothing twice."""

from hypothesis import given
from hypothesis import strategies as st

from layerscope.schedules import variants
from layerscope.schedules.schedule import Schedule
from layerscope.schedules.tree import new_block_calls, prefix_tree

SCHEDULES = st.lists(
    st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=2).map(tuple), min_size=1, max_size=4),
    min_size=1,
    max_size=8,
)


def beginnings(schedules: list[Schedule]) -> set[tuple[tuple[int, ...], ...]]:
    return {tuple(schedule[:length]) for schedule in schedules for length in range(1, len(schedule) + 1)}


@given(SCHEDULES)
def test_every_distinct_beginning_is_one_node(drawn: list[list[tuple[int, ...]]]) -> None:
    schedules = [Schedule(stages) for stages in drawn]
    root, found = prefix_tree(schedules), []
    paths = {id(root): ()}
    for node in root:
        for child in node.children.values():
            paths[id(child)] = (*paths[id(node)], child.stage)
            assert child.level == len(paths[id(child)])
        if node is not root:
            found.append(paths[id(node)])
        for end in node.ends:
            assert paths[id(node)] == tuple(schedules[end])
        assert node.first == min(i for i, s in enumerate(schedules) if tuple(s[: node.level]) == paths[id(node)])
    assert len(found) == len(set(found))
    assert set(found) == beginnings(schedules)
    assert sorted(end for node in root for end in node.ends) == list(range(len(schedules)))


@given(SCHEDULES)
def test_new_block_calls_sum_to_the_tree(drawn: list[list[tuple[int, ...]]]) -> None:
    schedules = [Schedule(stages) for stages in drawn]
    calls = new_block_calls(schedules)
    assert sum(calls) == sum(len(path[-1]) for path in beginnings(schedules))
    assert calls[0] == schedules[0].block_calls
    assert all(0 <= new <= schedule.block_calls for new, schedule in zip(calls, schedules, strict=True))


def whole_sweep(depth: int) -> list[Schedule]:
    """The distinct schedules of the paper's sweep: six variants, every start, ten seeds, three loops."""
    plain = [variants.skip, variants.middle_repeat, variants.reverse, variants.parallel, variants.looped_parallel]
    found = [variants.identity(depth)]
    for start in variants.starts(depth):
        found += [variant(depth, start) for variant in plain]
        found += [variants.random(depth, start, seed=seed) for seed in range(10)]
    return list(dict.fromkeys(found))


def test_what_the_tree_saves_on_the_papers_sweeps() -> None:
    for depth in (30, 32):
        schedules = whole_sweep(depth)
        saved = sum(schedule.block_calls for schedule in schedules) / sum(new_block_calls(schedules))
        assert round(saved, 2) == 1.39
    loops = [
        variants.looped_parallel(30, start, loops=count) for start in variants.starts(30) for count in range(1, 29)
    ]
    assert round(sum(loop.block_calls for loop in loops) / sum(new_block_calls(loops)), 1) >= 10.0
