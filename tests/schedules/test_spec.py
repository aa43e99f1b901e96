"""Schedules by name: what is read, what it is called afterwards, what is refused."""

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerscope.errors import ScheduleError, UsageError
from layerscope.schedules import variants
from layerscope.schedules.schedule import Schedule
from layerscope.schedules.spec import as_spec, parse_schedule, parse_spec
from layerscope.schedules.variant import VARIANTS

WITHOUT_NUMBER = st.just("identity")
WRITTEN = st.one_of(
    WITHOUT_NUMBER,
    st.builds("{}:{}".format, st.sampled_from(["skip", "middle_repeat", "reverse", "parallel"]), st.integers(0, 99)),
    st.builds("random:{}:seed={}".format, st.integers(0, 99), st.integers(0, 10**6)),
    st.builds("looped_parallel:{}:loops={}".format, st.integers(0, 99), st.integers(1, 99)),
    st.builds("{}:{}".format, st.sampled_from(["drop", "swap"]), st.integers(0, 99)),
    st.builds(
        lambda name, ends, times: f"{name}:{min(ends)}-{max(ends)}:times={times}",
        st.sampled_from(["repeat", "repeat_each"]),
        st.tuples(st.integers(0, 99), st.integers(0, 99)),
        st.integers(1, 9),
    ),
)


@given(WRITTEN)
def test_canonical_text_is_read_and_written_alike(text: str) -> None:
    assert str(parse_spec(text)) == text


@pytest.mark.parametrize(
    ("text", "canonical", "schedule"),
    [
        ("identity", "identity", variants.identity(30)),
        ("skip:12", "skip:12", variants.skip(30, 12)),
        ("random:12", "random:12:seed=0", variants.random(30, 12, seed=0)),
        ("random:12:seed=7", "random:12:seed=7", variants.random(30, 12, seed=7)),
        ("looped_parallel:12", "looped_parallel:12:loops=3", variants.looped_parallel(30, 12, loops=3)),
        ("repeat:3-5:times=3", "repeat:3-5:times=3", variants.repeat(30, 3, 5, times=3)),
        ("repeat_each:3-5", "repeat_each:3-5:times=2", variants.repeat_each(30, 3, 5, times=2)),
        ("drop:0", "drop:0", variants.drop(30, 0)),
        ("swap:28", "swap:28", variants.swap(30, 28)),
        ("0 1 2", "0-2", ((0,), (1,), (2,))),
    ],
)
def test_what_a_spec_means(text: str, canonical: str, schedule: tuple) -> None:
    spec, found = parse_schedule(text, depth=30)
    assert str(spec) == canonical
    assert found == schedule
    assert parse_schedule(spec, depth=30)[1] == schedule
    assert parse_schedule(schedule, depth=30)[1] == schedule


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("identity", (-1, -1, -1, 0)),
        ("skip:12", (12, -1, -1, 5)),
        ("random:2:seed=5", (2, 5, -1, 25)),
        ("looped_parallel:14:loops=4", (14, -1, 4, 1)),
        ("drop:7", (7, -1, -1, 1)),
        ("swap:7", (7, -1, -1, 2)),
        ("repeat:3-5:times=2", (3, -1, -1, 3)),
        ("0-3", (-1, -1, -1, -1)),
    ],
)
def test_the_columns_of_a_sweep(text: str, expected: tuple[int, ...]) -> None:
    spec = parse_spec(text)
    assert (spec.start, spec.seed, spec.loops, spec.affected(30)) == expected


@pytest.mark.parametrize(
    ("text", "column", "what"),
    [
        ("skp:3", 1, "did you mean 'skip'"),
        ("zebra", 1, "no variant 'zebra'"),
        ("skip", 5, "the start N is missing"),
        ("skip:", 6, "the start N is missing"),
        ("skip:x", 6, "expected the start N, found 'x'"),
        ("skip:-1", 6, "expected the start N, found '-1'"),
        ("skip:3:loops=2", 8, "'loops=2' is unexpected"),
        ("skip:3:", 8, "'' is unexpected"),
        ("identity:3", 10, "'3' is unexpected"),
        ("random:3:seed", 10, "expected seed=NUMBER of at most 9 digits, found 'seed'"),
        ("random:3:seed=x", 10, "expected seed=NUMBER"),
        ("random:3:seed=1:seed=2", 17, "is unexpected"),
        ("looped_parallel:3:loops=0", 19, "loops is 1 to 10,000, found 0"),
        ("repeat:3:times=2", 8, "expected the range A-B, found '3'"),
        ("repeat:3-5:times=0", 12, "times is 1 to 10,000"),
        ("repeat:5-3", 8, "the range 5-3 is empty"),
        ("random:1:seed=99999999999", 10, "of at most 9 digits"),
        ("drop:1-2", 6, "expected the block, found '1-2'"),
        ("skip:٣", 6, "expected the start N"),
    ],
)
def test_malformed_specs_point_at_the_column(text: str, column: int, what: str) -> None:
    with pytest.raises(UsageError, match=rf"(?i)column {column}: (.|\n)*{what}"):
        parse_spec(text)


@pytest.mark.parametrize("text", ["skip:15", "drop:30", "swap:29", "repeat:3-30", "0-30", "(1|30)"])
def test_another_depth_is_refused(text: str) -> None:
    with pytest.raises(ScheduleError):
        parse_schedule(text, depth=30)


MADE = {
    "identity": (),
    "skip": (2,),
    "middle_repeat": (2,),
    "reverse": (2,),
    "random": (2,),
    "parallel": (2,),
    "looped_parallel": (2,),
    "drop": (2,),
    "swap": (2,),
    "repeat": (2, 3),
    "repeat_each": (2, 3),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_schedule_knows_the_depth_it_was_made_for(name: str) -> None:
    """Where its blocks all exist, too: skipping the middle of 8 blocks cuts off the end of 12."""
    made = VARIANTS[name].build(8, *MADE[name])
    again = pickle.loads(pickle.dumps(made))
    for schedule in (made, as_spec(made), again, copy.deepcopy(made)):
        assert parse_schedule(schedule, depth=8)[1] == made
        for depth in (4, 12):
            with pytest.raises(ScheduleError) as error:
                parse_schedule(schedule, depth=depth)
            assert str(error.value) == (
                f"the schedule was made for a model of 8 blocks, and this one has {depth}: make it again for {depth}, or write "
                "it as text to run exactly these blocks"
            )
    for written in (str(made), tuple(made), Schedule(made)):
        assert parse_schedule(written, depth=12)[1] == made
        assert hash(parse_schedule(written, depth=12)[1]) == hash(made)


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_every_record_is_complete(variant) -> None:
    assert variant.summary.endswith(".")
    example = variant.form.replace("N", "2").replace("A-B", "2-3").replace(":I", ":2")
    assert parse_spec(example).schedule(12)
    assert (variant.option is None) == (variant.default is None)


@pytest.mark.parametrize("schedule", [None, 3, ["0-5"], [1, 2], object()])
def test_what_is_no_schedule_in_any_form(schedule: object) -> None:
    with pytest.raises(
        UsageError,
        match=r"as_spec: schedule.* is .*; expected a (text such as 'skip:12', or stages|list of whole numbers)",
    ):
        as_spec(schedule)
