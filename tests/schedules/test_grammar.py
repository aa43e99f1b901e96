"""The explicit form: reading and writing are inverses, and errors point at the column."""

from itertools import chain
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerscope.errors import ScheduleError, UsageError
from layerscope.schedules.grammar import parse_explicit, print_explicit
from layerscope.schedules.schedule import Schedule

BLOCKS = st.integers(0, 12)
STAGES = st.lists(BLOCKS, min_size=1, max_size=4).map(tuple)
# Runs, ranges and repeats, so that every way of writing is met.
PIECES = st.one_of(
    STAGES.map(lambda stage: [stage]),
    st.tuples(STAGES, st.integers(1, 4)).map(lambda drawn: [drawn[0]] * drawn[1]),
    st.tuples(BLOCKS, BLOCKS).map(lambda ends: [(block,) for block in range(ends[0], ends[1] + 1)] or [ends]),
    st.tuples(BLOCKS, BLOCKS).map(lambda ends: [(block,) for block in range(ends[0], ends[1] - 1, -1)] or [ends]),
)
SCHEDULES = st.lists(PIECES, min_size=1, max_size=6).map(lambda pieces: list(chain(*pieces)))


@given(SCHEDULES)
def test_reading_undoes_writing(stages: list[tuple[int, ...]]) -> None:
    schedule = Schedule(stages)
    text = print_explicit(schedule)
    assert Schedule(parse_explicit(text)) == schedule
    assert str(schedule) == text


@st.composite
def _items(draw: st.DrawFn) -> tuple[str, list[tuple[int, ...]]]:
    """An item as the grammar allows it, with the stages it means."""
    kind = draw(st.sampled_from(["block", "range", "parallel"]))
    if kind == "block":
        block = draw(BLOCKS)
        text, stages = str(block), [(block,)]
    elif kind == "range":
        first, last = draw(BLOCKS), draw(BLOCKS)
        blocks = list(range(min(first, last), max(first, last) + 1))
        text, stages = f"{first}-{last}", [(block,) for block in (blocks if first <= last else reversed(blocks))]
    else:
        stage = draw(STAGES)
        text, stages = "(" + "|".join(map(str, stage)) + ")", [stage]
    if draw(st.booleans()):
        times = draw(st.integers(1, 5))
        text, stages = f"{text}*{times}", stages * times
    return text, stages


@given(st.lists(_items(), min_size=1, max_size=6))
def test_any_text_of_the_grammar_means_what_it_says(items: list[tuple[str, list[tuple[int, ...]]]]) -> None:
    text = " ".join(text for text, _ in items)
    assert parse_explicit(text) == [stage for _, stages in items for stage in stages]


@pytest.mark.parametrize(
    ("text", "stages"),
    [
        ("0-12 17-13 18-29", [*range(13), 17, 16, 15, 14, 13, *range(18, 30)]),
        ("0-8 (9|10|11)*3 12-29", [*range(9), *[(9, 10, 11)] * 3, *range(12, 30)]),
        ("3-4*2", [3, 4, 3, 4]),
        ("5-5", [5]),
        ("(7)", [7]),
        ("007", [7]),
    ],
)
def test_the_contracts_own_examples(text: str, stages: list) -> None:
    assert parse_explicit(text) == [stage if isinstance(stage, tuple) else (stage,) for stage in stages]


@pytest.mark.parametrize(
    ("text", "column", "what"),
    [
        ("", 1, r"expected a block, a range or .\(., found the end"),
        ("0-", 3, "expected the last block of the range, found the end"),
        ("0  1", 3, r"expected a block, a range or .\(., found . ."),
        ("0 1 ", 5, "found the end"),
        (" 0", 1, "found ' '"),
        ("0,1", 2, "expected ' ', found ','"),
        ("(1|2", 5, r"expected '\|' or '\)', found the end"),
        ("()", 2, r"expected a block, found '\)'"),
        ("(1|)", 4, r"expected a block, found '\)'"),
        ("(1-2)", 3, r"expected '\|' or '\)', found '-'"),
        ("1*", 3, "expected how often to repeat"),
        ("1*0", 3, "repeated at least once"),
        ("1*2*3", 4, r"expected ' ', found '\*'"),
        ("-1", 1, "found '-'"),
        ("0-1-2", 4, "expected ' ', found '-'"),
        ("0 x", 3, "found 'x'"),
        ("0-999999999", 3, "more than 100,000 stages"),
        ("0-9*99999", 5, "more than 100,000 stages"),
        ("0*60000 1 0*60000", 13, "more than 100,000 stages"),
        ("0 1234567890", 3, "is too large a number"),
        ("²", 1, "found '²'"),
    ],
)
def test_malformed_text_points_at_the_column(text: str, column: int, what: str) -> None:
    with pytest.raises(UsageError, match=rf"column {column}: .*{what}") as caught:
        parse_explicit(text)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("stages", "what"),
    [
        ([], "at least one stage"),
        ([(0,)] * 100_001, "100,001 stages, and the most is 100,000"),
        ([(0,), ()], "stage 1 is empty"),
        ([(0,), (2, -1)], "stage 1 names block -1"),
    ],
)
def test_what_is_no_schedule_is_refused(stages: list, what: str) -> None:
    with pytest.raises(ScheduleError, match=what):
        Schedule(stages)


def test_writing_takes_time_in_proportion_to_the_stages() -> None:
    def seconds(times: int) -> float:
        schedule = Schedule([(block,) for block in (*range(30), 3)] * times)
        begun = process_time()
        assert len(print_explicit(schedule)) == 7 * times - 1
        return process_time() - begun

    assert seconds(3000) < 1  # it took 20 s where each range looked through all that follows


def test_a_schedule_is_a_tuple() -> None:
    schedule = Schedule(parse_explicit("0 (1|2)"))
    assert schedule == ((0,), (1, 2))
    assert hash(schedule) == hash(((0,), (1, 2)))
    assert {schedule: "found"}[((0,), (1, 2))] == "found"
    schedule.check_depth(3)
    with pytest.raises(ScheduleError, match="names block 2: a model of 2 blocks has 0 to 1"):
        schedule.check_depth(2)
