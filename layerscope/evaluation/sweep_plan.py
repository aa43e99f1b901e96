"""Which schedules a sweep runs. Plain data; knows no model but its depth."""

import re
from collections.abc import Iterable, Sequence

from layerscope.errors import UsageError, at_least, unknown_name
from layerscope.schedules.schedule import Schedule
from layerscope.schedules.spec import Spec, as_spec
from layerscope.schedules.variant import VARIANTS
from layerscope.schedules.variants import starts as legal_starts

__all__ = ["RANGE_VARIANTS", "parse_numbers", "plan_runs"]

RANGE_VARIANTS = tuple(name for name, variant in VARIANTS.items() if variant.place == "start")
"""What ``--variants all`` means."""

_MOST_LOOPS = 1000  # each is a run from every start, as many stages long; the paper goes to 28
_MOST_SEEDS = 10_000  # each is a run from every start
_BY_BLOCK = tuple(name for name, variant in VARIANTS.items() if variant.place == "block")


def parse_numbers(name: str, text: str | int | Iterable[int]) -> list[int]:
    """Read numbers as options give them: ``8,12``, ``1-28``, or both.

    Raises
    ------
    UsageError
        Anything else.

    Examples
    --------
    >>> parse_numbers("loops", "1-3,8")
    [1, 2, 3, 8]
    """
    if isinstance(text, int):
        return [text]
    if not isinstance(text, str):
        return [int(number) for number in text]
    numbers: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,6})(?:-(\d{1,6}))?\s*", part, re.ASCII)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise UsageError(f"{name} {text!r}: give numbers and ranges, such as 3 or 1-28 or 8,12")
        numbers += range(int(match[1]), int(match[2] or match[1]) + 1)
    return numbers


def plan_runs(
    depth: int,
    *,
    variants: str | Sequence[str] | None = None,
    schedule: str | Spec | Schedule | Sequence[str | Spec | Schedule] = (),
    starts: str | Iterable[int] = "all",
    seeds: int = 10,
    loops: str | int | Iterable[int] = 3,
) -> list[Spec]:
    """Return the schedules of a sweep, each once: the full model first, then variant by variant.

    Parameters
    ----------
    depth
        T of the model.
    variants
        ``all`` (the six range variants) or names; None means all, or none where a schedule is given.
    schedule
        One more schedule or several, as SPEC.
    starts
        ``all`` legal ones, or which.
    seeds
        How many shuffles of ``random``: seeds 0, 1, ….
    loops
        Of ``looped_parallel``.

    Raises
    ------
    UsageError
        An unknown variant, one that needs numbers of its own, no run at all.
    ScheduleError
        A start or schedule that a model of this depth has not.

    Examples
    --------
    >>> [str(run) for run in plan_runs(6, variants="skip,random", starts="1", seeds=2)]
    ['identity', 'skip:1', 'random:1:seed=0', 'random:1:seed=1']
    """
    at_least(1, most=_MOST_SEEDS, seeds=seeds)
    turns = parse_numbers("loops", loops)
    if not turns:
        raise UsageError("loops names no number: give at least one, such as 3")
    at_least(1, loops=min(turns))
    if max(turns) > _MOST_LOOPS:
        raise UsageError(f"loops {max(turns)}: a sweep takes at most {_MOST_LOOPS}")
    given = [schedule] if isinstance(schedule, str | Spec | Schedule) else list(schedule)
    chosen = _chosen(variants, bool(given))
    places = list(legal_starts(depth)) if starts == "all" else parse_numbers("starts", starts)
    options = {"seed": list(range(seeds)), "loops": turns}
    runs = [Spec("identity")]
    for name in chosen:
        variant = VARIANTS[name]
        if name in _BY_BLOCK:
            runs += [Spec(name, (block,)) for block in range(depth - (name == "swap"))]
        else:
            values = [None] if variant.option is None else options[variant.option]
            runs += [Spec(name, (start,), value) for start in places for value in values]
    runs += [as_spec(spec) for spec in given]
    for run in runs:
        run.schedule(depth)  # a start that is not legal is refused before anything is computed
    return list(dict.fromkeys(runs))


def _chosen(variants: str | Sequence[str] | None, others: bool) -> list[str]:
    if variants is None:
        variants = () if others else "all"
    names = [name.strip() for name in variants.split(",")] if isinstance(variants, str) else list(variants)
    chosen: list[str] = []
    for name in names:
        if name == "all":
            chosen += RANGE_VARIANTS
        elif name not in VARIANTS:
            raise unknown_name("variant", name, ["all", *RANGE_VARIANTS, *_BY_BLOCK])
        elif VARIANTS[name].place == "range":
            raise UsageError(f"variant {name} needs its blocks: give --schedule {VARIANTS[name].form}")
        elif name != "identity":  # which every sweep begins with
            chosen.append(name)
    return list(dict.fromkeys(chosen))
