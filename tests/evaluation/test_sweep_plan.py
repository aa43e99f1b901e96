"""Which schedules a sweep runs."""

import pytest

from layerscope.errors import ScheduleError, UsageError
from layerscope.evaluation.sweep_plan import RANGE_VARIANTS, parse_numbers, plan_sweep


def test_all_variants_from_every_start() -> None:
    runs = plan_sweep(30).names
    assert runs[0] == "identity"
    # Six variants at fifteen starts, random with ten seeds.
    assert len(runs) == 1 + 15 * (5 + 10)
    assert len(set(runs)) == len(runs)
    assert {run.split(":")[0] for run in runs[1:]} == set(RANGE_VARIANTS)
    assert set(RANGE_VARIANTS) == {"skip", "middle_repeat", "reverse", "random", "parallel", "looped_parallel"}


def test_what_is_chosen() -> None:
    def names(**options: object) -> list[str]:
        return plan_sweep(6, **options).names

    assert names(variants="drop") == ["identity", *(f"drop:{block}" for block in range(6))]
    assert names(variants="swap", starts="0") == ["identity", *(f"swap:{block}" for block in range(5))]
    assert names(variants=["skip"], starts=[0, 2]) == ["identity", "skip:0", "skip:2"]
    assert names(schedule=["0-3", "skip:1"]) == ["identity", "0-3", "skip:1"]
    assert names(schedule="skip:1", variants="skip", starts="1") == ["identity", "skip:1"], "each once"
    assert names(variants="looped_parallel", starts="2", loops="1-3") == [
        "identity",
        *(f"looped_parallel:2:loops={loops}" for loops in (1, 2, 3)),
    ]
    assert names(variants="identity,skip", starts="1") == ["identity", "skip:1"]
    assert len(names(variants="all,drop")) == 1 + 3 * 15 + 6


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"variants": "skp"}, UsageError, "unknown variant 'skp': did you mean 'skip'"),
        ({"variants": "repeat"}, UsageError, "repeat needs its blocks: give --schedule repeat:A-B:times=2"),
        ({"starts": "3"}, ScheduleError, "start 3 leaves no block affected in a model of 6 blocks: start is 0 to 2"),
        ({"starts": "x"}, UsageError, "starts 'x': give numbers and ranges"),
        ({"starts": "2-1"}, UsageError, "starts '2-1'"),
        ({"seeds": 0}, UsageError, "seeds 0"),
        ({"loops": []}, UsageError, "loops names no number"),
        ({"loops": "0"}, UsageError, "loops 0: must be 1 or more"),
        ({"loops": "1-99999"}, UsageError, "loops 99999: a sweep takes at most 1000"),
        ({"schedule": ["0-6"]}, ScheduleError, "names block 6"),
        ({"schedule": ["0-"]}, UsageError, "column 3"),
    ],
)
def test_what_is_refused(options: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        plan_sweep(6, **options)


def test_numbers() -> None:
    assert parse_numbers("loops", 3) == [3]
    assert parse_numbers("loops", range(1, 4)) == [1, 2, 3]
    assert parse_numbers("loops", "5") == [5]
