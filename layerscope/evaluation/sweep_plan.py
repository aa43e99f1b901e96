"""The schedules that a sweep runs, for a model of known depth. Plain data; imports no model."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from layerscope.errors import UsageError, at_least, unknown_name
from layerscope.schedules.schedule import Schedule
from layerscope.schedules.spec import Spec, as_spec
from layerscope.schedules.tree import Node, new_block_calls, prefix_tree
from layerscope.schedules.variant import VARIANTS
from layerscope.schedules.variants import starts as legal_starts

__all__ = ["RANGE_VARIANTS", "Schedules", "SweepPlan", "parse_numbers", "plan_sweep"]

RANGE_VARIANTS = tuple(name for name, variant in VARIANTS.items() if variant.place == "start")
"""Variants that affect a range of blocks: what ``--variants all`` means, in the order of figures."""

Schedules = str | Spec | Schedule | Sequence[str | Spec | Schedule]
"""One schedule or several, each in a form that a sweep takes."""

_MOST_LOOPS = 1000  # each adds a run from every start, with that many stages; the paper uses up to 28
_MOST_SEEDS = 10_000  # each adds a run from every start
_BY_BLOCK = tuple(name for name, variant in VARIANTS.items() if variant.place == "block")


@dataclass(frozen=True)
class SweepPlan:
    """The runs of a sweep on a model of known depth.

    Attributes
    ----------
    depth
        Number of blocks T.
    runs
        One SPEC per run; run 0 is the full model.
    schedules
        Schedule of each run.
    root
        Prefix tree of the schedules.
    """

    depth: int
    runs: tuple[Spec, ...]
    schedules: tuple[Schedule, ...]
    root: Node

    @classmethod
    def build(cls, runs: Iterable[Spec], depth: int) -> "SweepPlan":
        """Return the plan of runs; repeated runs count once.

        Raises
        ------
        ScheduleError
            A run is not valid for a model of this depth.
        """
        unique = tuple(dict.fromkeys(runs))
        schedules = tuple(run.schedule(depth) for run in unique)
        return cls(depth, unique, schedules, prefix_tree(schedules))

    @property
    def names(self) -> list[str]:
        """SPEC of each run as text."""
        return [str(run) for run in self.runs]

    @property
    def new_calls(self) -> list[int]:
        """Block calls of each run that no earlier run has made."""
        return new_block_calls(self.schedules, self.root)

    @property
    def calls_alone(self) -> list[int]:
        """Block calls of each run when it runs alone."""
        return [schedule.block_calls for schedule in self.schedules]

    @property
    def stages(self) -> int:
        """Number of stages of the longest schedule."""
        return max(map(len, self.schedules))

    @property
    def columns(self) -> dict[str, Any]:
        """Variables of a sweep file that describe its runs."""
        return {
            "schedule": ("run", self.names),
            "variant": ("run", [run.variant for run in self.runs]),
            "start": ("run", [run.start for run in self.runs]),
            "seed": ("run", [run.seed for run in self.runs]),
            "loops": ("run", [run.loops for run in self.runs]),
            "affected": ("run", [run.affected(self.depth) for run in self.runs]),
            "stages": ("run", [len(schedule) for schedule in self.schedules]),
        }


def parse_numbers(name: str, text: str | int | Iterable[int]) -> list[int]:
    """Parse the numbers of an option: ``8,12``, ``1-28``, or both.

    Raises
    ------
    UsageError
        The text has another form.

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


def plan_sweep(
    depth: int,
    *,
    variants: str | Sequence[str] | None = None,
    schedule: Schedules = (),
    starts: str | Iterable[int] = "all",
    seeds: int = 10,
    loops: str | int | Iterable[int] = 3,
) -> SweepPlan:
    """Return the runs of a sweep, each once: the full model first, then variant by variant.

    Parameters
    ----------
    depth
        Number of blocks T of the model.
    variants
        ``all`` (the six range variants) or names. Default: all, or none when `schedule` is given.
    schedule
        One more schedule or several, as SPEC.
    starts
        ``all`` legal starts N, or a list of them.
    seeds
        Number of shuffles of ``random``: seeds 0, 1, ….
    loops
        Numbers of loops of ``looped_parallel``.

    Raises
    ------
    UsageError
        A variant is unknown or needs its own numbers, or there is no run.
    ScheduleError
        A start or schedule is not valid for a model of this depth.

    Examples
    --------
    >>> plan_sweep(6, variants="skip,random", starts="1", seeds=2).names
    ['identity', 'skip:1', 'random:1:seed=0', 'random:1:seed=1']
    """
    at_least(1, most=_MOST_SEEDS, seeds=seeds)
    options = {"seed": list(range(seeds)), "loops": _parse_loops(loops)}
    extra = [schedule] if isinstance(schedule, str | Spec | Schedule) else list(schedule)
    names = _variant_names(variants, bool(extra))
    places = list(legal_starts(depth)) if starts == "all" else parse_numbers("starts", starts)
    runs = [Spec("identity")]
    for name in names:
        option = VARIANTS[name].option
        if name in _BY_BLOCK:
            runs += [Spec(name, (block,)) for block in range(depth - (name == "swap"))]
        else:
            values = [None] if option is None else options[option]
            runs += [Spec(name, (start,), value) for start in places for value in values]
    return SweepPlan.build([*runs, *map(as_spec, extra)], depth)


def _parse_loops(loops: str | int | Iterable[int]) -> list[int]:
    counts = parse_numbers("loops", loops)
    if not counts:
        raise UsageError("loops names no number: give at least one, such as 3")
    at_least(1, loops=min(counts))
    if max(counts) > _MOST_LOOPS:
        raise UsageError(f"loops {max(counts)}: a sweep takes at most {_MOST_LOOPS}")
    return counts


def _variant_names(variants: str | Sequence[str] | None, has_schedules: bool) -> list[str]:
    if variants is None:
        variants = () if has_schedules else "all"
    given = [name.strip() for name in variants.split(",")] if isinstance(variants, str) else list(variants)
    names: list[str] = []
    for name in given:
        if name == "all":
            names += RANGE_VARIANTS
        elif name not in VARIANTS:
            raise unknown_name("variant", name, ["all", *RANGE_VARIANTS, *_BY_BLOCK])
        elif VARIANTS[name].place == "range":
            raise UsageError(f"variant {name} needs its blocks: give --schedule {VARIANTS[name].form}")
        elif name != "identity":  # run 0 of every sweep
            names.append(name)
    return list(dict.fromkeys(names))
