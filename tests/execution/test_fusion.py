"""Running the same stages of several schedules together: the order, the groups, and what does not fit the device."""

import weakref

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from layerscope.execution.fusion import FusedBatch, run_tree_fused
from layerscope.execution.recorded_batch import RecordedBatch
from layerscope.execution.scheduled import run_tree
from layerscope.schedules.schedule import Schedule
from layerscope.schedules.spec import parse_schedule
from layerscope.schedules.tree import Node, new_block_calls, prefix_tree
from tests.execution.test_run_tree import MANY


def add(stage: tuple[int, ...], stream: torch.Tensor) -> torch.Tensor:
    """Return a stream that tells which stages have run, and in which order."""
    return stream * 3 + sum(stage) / len(stage) + 1


@given(MANY, st.integers(2, 4))
def test_every_node_runs_once_with_its_own_stream(drawn: list[list[tuple[int, ...]]], at_once: int) -> None:
    root = prefix_tree([Schedule(one) for one in drawn])
    expected: dict[Node, float] = {}
    run_tree(
        root,
        torch.zeros(1, 1, 1, dtype=torch.float64),
        add,
        lambda node, stream: expected.update({node: stream.item()}),
    )
    found: dict[Node, float] = {}
    ended: list[int] = []
    sizes: list[int] = []

    def run_stage(stage: tuple[int, ...], streams: list[torch.Tensor]) -> list[torch.Tensor]:
        sizes.append(len(streams))
        return [add(stage, stream) for stream in streams]

    def visit(node: Node, stream: torch.Tensor) -> None:
        assert node not in found
        found[node] = stream.item()
        ended.extend(node.ends)

    run_tree_fused(root, torch.zeros(1, 1, 1, dtype=torch.float64), run_stage, visit, at_once)
    assert found == expected
    assert max(sizes) <= at_once
    assert sorted(ended) == list(range(len(drawn)))
    whole = {number for node in root for number in node.ends if node.first == 0}
    assert set(ended[: len(whole)]) == whole  # the first schedule, and what ends on its way


def test_the_last_blocks_of_a_sweep_run_together() -> None:
    schedules = [parse_schedule(spec, 12)[1] for spec in ("identity", *(f"skip:{start}" for start in range(6)))]
    sizes: list[int] = []

    def run_stage(stage: tuple[int, ...], streams: list[torch.Tensor]) -> list[torch.Tensor]:
        sizes.append(len(streams))
        return streams

    run_tree_fused(prefix_tree(schedules), torch.zeros(1, 1, 1), run_stage, lambda node, stream: None, 8)
    assert sum(sizes) == sum(new_block_calls(schedules))
    assert len(sizes) == 12 + 5  # the full model, and each of the last blocks once for all schedules that skip


def test_more_streams_than_may_wait_run_newest_first() -> None:
    schedules = [Schedule([(0,), (first,), (second,), (99,)]) for first in range(1, 9) for second in range(1, 9)]
    streams: list[weakref.ref[torch.Tensor]] = []
    most = 0

    def run_stage(stage: tuple[int, ...], given: list[torch.Tensor]) -> list[torch.Tensor]:
        nonlocal most
        made = [stream + 1 for stream in given]
        streams.extend(map(weakref.ref, made))
        most = max(most, sum(one() is not None for one in streams))
        return made

    seen: list[int] = []
    tree = prefix_tree(schedules)
    run_tree_fused(tree, torch.zeros(1, 1, 1), run_stage, lambda node, stream: seen.extend(node.ends), 2)
    assert sorted(seen) == list(range(64))
    assert most <= 2 * 16 + 8


class _Small:
    """A device on which at most some lines fit."""

    def __init__(self, most: int) -> None:
        self.most, self.lines = most, [0]

    def record(self, copies: int) -> RecordedBatch:
        def call(block: int, stream: torch.Tensor) -> torch.Tensor:
            if len(stream) > self.most:
                raise torch.OutOfMemoryError("full")
            self.lines.append(len(stream))
            return stream + block

        return RecordedBatch(torch.zeros(2 * copies, 3, 1), call)


def test_a_group_that_does_not_fit_runs_in_halves() -> None:
    device = _Small(most=4)
    batch = FusedBatch(device.record, [6])
    streams = [torch.full((2, 3, 1), float(number)) for number in range(5)]
    with pytest.warns(UserWarning, match="out of memory with 5 schedules in one batch; continuing with 2"):
        outputs = batch.run_stage((7,), streams)
    assert [output.unique().tolist() for output in outputs] == [[7.0], [8.0], [9.0], [10.0], [11.0]]
    assert max(device.lines) == 4
    batch.run_stage((8,), streams)  # without a warning: it knows how many fit
    with pytest.warns(UserWarning, match="continuing with 1"), pytest.raises(torch.OutOfMemoryError):
        FusedBatch(_Small(most=1).record, [6]).run_stage((7,), streams[:2])


def test_parts_of_a_batch_stay_together() -> None:
    seen: list[torch.Tensor] = []

    def record(copies: int) -> RecordedBatch:
        def call(block: int, stream: torch.Tensor) -> torch.Tensor:
            seen.append(stream[0, :, 0])
            return stream

        return RecordedBatch(torch.zeros(1, 3 * copies, 1), call)

    streams = [torch.tensor([[[1.0], [1.0], [2.0]]]), torch.tensor([[[3.0], [3.0], [4.0]]])]
    outputs = FusedBatch(record, [2, 1]).run_stage((0,), streams)
    assert seen[0].tolist() == [1, 1, 3, 3, 2, 4]
    assert all(torch.equal(*pair) for pair in zip(outputs, streams, strict=True))
