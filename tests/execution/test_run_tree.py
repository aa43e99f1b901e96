"""Running a prefix tree: the order of the schedules, and how many streams are in memory."""

import gc
import weakref
from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from layerscope.execution.scheduled import mean_stream, run_tree
from layerscope.schedules.schedule import Schedule, Stage
from layerscope.schedules.tree import new_block_calls, prefix_tree

STAGES = st.lists(st.integers(0, 2), min_size=1, max_size=2).map(tuple)
MANY = st.lists(st.lists(STAGES, min_size=1, max_size=5), min_size=1, max_size=12)


@pytest.fixture
def only_new_garbage() -> Iterator[None]:
    """Collect what this test makes and no more: going through all that other tests have left takes a second each time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("only_new_garbage")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(MANY)
def test_one_stream_a_level_is_held(drawn: list[list[tuple[int, ...]]]) -> None:
    """However many schedules there are: those on the way to the node being run, and what its blocks give."""
    schedules = list(map(Schedule, drawn))
    streams: list[weakref.ref[torch.Tensor]] = []
    most = 0

    def run_block(block: int, stream: torch.Tensor) -> torch.Tensor:
        nonlocal most
        made = stream + block + 1
        streams.append(weakref.ref(made))
        most = max(most, sum(one() is not None for one in streams))
        return made

    def run_stage(stage: Stage, stream: torch.Tensor) -> torch.Tensor:
        return mean_stream(run_block(block, stream) for block in stage)

    gc.collect()
    run_tree(prefix_tree(schedules), torch.zeros(1, 1, 1), run_stage, lambda node, stream: None)
    assert len(streams) == sum(new_block_calls(schedules))
    assert most <= max(map(len, schedules)) + 2


@given(MANY)
def test_the_first_schedule_is_run_whole_before_any_other(drawn: list[list[tuple[int, ...]]]) -> None:
    schedules = list(map(Schedule, drawn))
    ended: list[int] = []
    run_tree(
        prefix_tree(schedules),
        torch.zeros(1, 1, 1),
        lambda stage, stream: stream,
        lambda node, stream: ended.extend(node.ends),
    )
    assert sorted(ended) == list(range(len(schedules)))
    before = ended[: ended.index(0)]
    assert all(schedules[0][: len(schedules[number])] == schedules[number] for number in before), (
        "but its own beginnings"
    )
