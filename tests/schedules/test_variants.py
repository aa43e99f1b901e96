"""Every variant, for every legal (T, N) up to T = 40, against the table of the paper's rule written out anew."""

import random
from types import SimpleNamespace

import numpy as np
import pytest

from layerscope.errors import ScheduleError
from layerscope.schedules import variants

EVERY = [(depth, start) for depth in range(2, 41) for start in range((depth - 2) // 2 + 1)]


def oracle(name: str, depth: int, start: int, number: int) -> list[tuple[int, ...]]:
    """The blocks as the paper's table says, from arrays and masks: nothing shared with the code."""
    blocks = np.arange(depth)
    touched = (blocks >= start + 1) & (blocks <= depth - start - 1)
    before, middle, after = blocks[blocks < start + 1], blocks[touched], blocks[blocks > depth - start - 1]
    if name == "random":
        shuffled = list(range(start + 1, depth - start))
        random.Random(number).shuffle(shuffled)
    chosen = {
        "skip": list,
        "middle_repeat": lambda: [(depth // 2,) for _ in middle],
        "reverse": lambda: [(int(block),) for block in middle[::-1]],
        "random": lambda: [(block,) for block in shuffled],
        "parallel": lambda: [tuple(middle.tolist())],
        "looped_parallel": lambda: [tuple(middle.tolist())] * number,
    }[name]()
    return [(int(block),) for block in before] + chosen + [(int(block),) for block in after]


@pytest.mark.parametrize("name", ["skip", "middle_repeat", "reverse", "parallel"])
def test_plain_range_variants(name: str) -> None:
    for depth, start in EVERY:
        assert list(getattr(variants, name)(depth, start)) == oracle(name, depth, start, 0), (depth, start)


@pytest.mark.parametrize("seed", [0, 1, 9])
def test_random(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # All that is left of the module is its class: whoever touches the global generator fails.
    monkeypatch.setattr(variants, "_random", SimpleNamespace(Random=random.Random))
    for depth, start in EVERY:
        assert list(variants.random(depth, start, seed=seed)) == oracle("random", depth, start, seed)


@pytest.mark.parametrize("loops", [1, 3, 28])
def test_looped_parallel(loops: int) -> None:
    for depth, start in EVERY:
        assert list(variants.looped_parallel(depth, start, loops=loops)) == oracle(
            "looped_parallel", depth, start, loops
        )


def test_the_worked_case_of_the_paper() -> None:
    """N = 13 of 32: five blocks skipped, twenty-seven used."""
    schedule = variants.skip(32, start=13)
    assert schedule.block_calls == 27
    assert set(range(32)) - {block for (block,) in schedule} == {14, 15, 16, 17, 18}


@pytest.mark.parametrize("depth", range(2, 41))
def test_at_the_last_start_one_block_is_affected_for_even_depths(depth: int) -> None:
    last = variants.starts(depth)[-1]
    count = len(variants.affected(depth, last))
    assert count == (1 if depth % 2 == 0 else 2)
    if count == 1:
        whole = variants.identity(depth)
        for name in ("reverse", "random", "parallel", "middle_repeat"):
            assert getattr(variants, name)(depth, last) == whole
        assert variants.skip(depth, last).block_calls == depth - 1
        assert variants.looped_parallel(depth, last, loops=5).block_calls == depth + 4


@pytest.mark.parametrize("depth", range(1, 41))
def test_illegal_starts_are_refused(depth: int) -> None:
    for start in (-1, (depth - 2) // 2 + 1, depth):
        for name in ("skip", "middle_repeat", "reverse", "random", "parallel", "looped_parallel"):
            with pytest.raises(ScheduleError, match=f"start {start} leaves no block affected in a model of {depth}"):
                getattr(variants, name)(depth, start)


@pytest.mark.parametrize("depth", range(2, 41))
def test_drop_and_swap(depth: int) -> None:
    for block in range(depth):
        kept = [other for (other,) in variants.drop(depth, block)]
        assert kept == sorted(set(range(depth)) - {block})
    for block in range(depth - 1):
        order = [other for (other,) in variants.swap(depth, block)]
        assert sorted(order) == list(range(depth))
        assert [place for place, other in enumerate(order) if place != other] == [block, block + 1]


@pytest.mark.parametrize("times", [1, 2, 3])
def test_repeats(times: int) -> None:
    for depth in (1, 2, 5, 8):
        for first in range(depth):
            for last in range(first, depth):
                whole = [block for (block,) in variants.repeat(depth, first, last, times=times)]
                each = [block for (block,) in variants.repeat_each(depth, first, last, times=times)]
                assert each == sorted(whole), "the same calls, in order"
                count = last - first + 1
                assert whole[first : first + times * count] == list(range(first, last + 1)) * times
                assert len(whole) == depth + (times - 1) * count


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: variants.drop(4, 4), "no block 4: a model of 4 blocks has 0 to 3"),
        (lambda: variants.drop(4, -1), "no block -1"),
        (lambda: variants.drop(1, 0), "single block"),
        (lambda: variants.swap(4, 3), "block 3 is the last of 4"),
        (lambda: variants.swap(4, 4), "no block 4"),
        (lambda: variants.repeat(4, 2, 4), "no block 4"),
        (lambda: variants.repeat(4, 3, 2), "the range 3-2 is empty"),
        (lambda: variants.repeat(4, 1, 2, times=0), "times 0: must be 1 or more"),
        (lambda: variants.looped_parallel(8, 2, loops=0), "loops 0: must be 1 or more"),
    ],
)
def test_impossible_numbers_are_refused(call, message: str) -> None:
    with pytest.raises(ScheduleError, match=message):
        call()
