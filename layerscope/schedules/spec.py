"""`Spec`: a schedule by name, such as ``skip:12`` or ``looped_parallel:12:loops=3``, for a model of any depth."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated

from layerscope.arguments import check_fields, checked
from layerscope.errors import UsageError, unknown_name
from layerscope.schedules.grammar import parse_explicit, print_explicit
from layerscope.schedules.schedule import Schedule
from layerscope.schedules.variant import VARIANTS, Variant
from layerscope.schedules.variants import affected

__all__ = ["ScheduleLike", "Spec", "as_spec", "parse_schedule", "parse_spec"]


@dataclass(frozen=True)
class Spec:
    """A schedule by name, independent of the depth of a model.

    Attributes
    ----------
    variant
        A name of `VARIANTS`, or ``explicit``.
    place
        The numbers after the name: none, a start or block, or the two ends of a range.
    option
        Value of the variant's option; None if it has no option.
    stages
        Stages of an explicit schedule.

    Examples
    --------
    >>> spec = Spec("random", (12,), 0)
    >>> str(spec), spec.start, spec.seed, spec.loops
    ('random:12:seed=0', 12, 0, -1)
    """

    variant: str
    place: tuple[int, ...] = ()
    option: int | None = None
    stages: Schedule | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if (self.variant == "explicit") != (self.stages is not None):
            raise UsageError("Spec: stages and the variant 'explicit' go together: give both or neither")
        if self.variant == "explicit":
            return
        if self.variant not in VARIANTS:
            raise unknown_name("variant", self.variant, VARIANTS)
        form, numbers = VARIANTS[self.variant].form, {"nothing": 0, "range": 2}.get(VARIANTS[self.variant].place, 1)
        if len(self.place) != numbers:
            raise UsageError(f"Spec: {self.variant} takes {numbers} numbers, got {self.place}: it is written {form}")

    def schedule(self, depth: int) -> Schedule:
        """Return the schedule for a model of `depth` blocks.

        Raises
        ------
        ScheduleError
            The schedule is not valid for a model of this depth.
        """
        if self.stages is not None:
            self.stages.check_depth(depth)
            return self.stages
        variant = VARIANTS[self.variant]
        option = {} if variant.option is None or self.option is None else {variant.option: self.option}
        return variant.build(depth, *self.place, **option)

    def affected(self, depth: int) -> int:
        """Return the number of blocks that the schedule affects; -1 for an explicit schedule."""
        if self.variant == "explicit":
            return -1
        match VARIANTS[self.variant].place:
            case "nothing":
                return 0
            case "start":
                return len(affected(depth, self.place[0]))
            case "block":
                return 2 if self.variant == "swap" else 1
            case "range":
                return self.place[1] - self.place[0] + 1

    @property
    def start(self) -> int:
        """The start N or the (first) block; -1 without one."""
        return self.place[0] if self.place else -1

    @property
    def seed(self) -> int:
        """Seed of the shuffle; -1 for other variants."""
        return self._option("seed")

    @property
    def loops(self) -> int:
        """Number of runs of the parallel stage; -1 for other variants."""
        return self._option("loops")

    def _option(self, name: str) -> int:
        known = VARIANTS.get(self.variant)
        return self.option if known and known.option == name and self.option is not None else -1

    def __str__(self) -> str:
        if self.stages is not None:
            return print_explicit(self.stages)
        place = "-".join(map(str, self.place))
        option = "" if self.option is None else f"{VARIANTS[self.variant].option}={self.option}"
        return ":".join(filter(None, [self.variant, place, option]))


ScheduleLike = Annotated[
    Schedule | Spec | str | Sequence[Sequence[int]],
    "a text such as 'skip:12', or stages of block numbers such as ((0,), (1, 2))",
]
"""A schedule in any form that the public functions accept."""


@checked
def parse_spec(text: str) -> Spec:
    """Parse a SPEC: a variant with its numbers, or an explicit schedule.

    Parameters
    ----------
    text
        ``identity``, ``skip:N``, ``random:N:seed=0``, ``repeat:A-B:times=2``, … (see
        `layerscope.schedules.variant.VARIANTS`), or the explicit form of `layerscope.schedules.grammar`. An omitted
        option takes its default.

    Returns
    -------
    Spec
        ``str`` gives the canonical text, with the option written out.

    Raises
    ------
    UsageError
        The text is malformed; the message gives the column, from 1.

    Examples
    --------
    >>> str(parse_spec("looped_parallel:12")), str(parse_spec("0-2 (3|4)*2 5"))
    ('looped_parallel:12:loops=3', '0-2 (3|4)*2 5')
    """
    if not text[:1].isalpha():
        return Spec("explicit", stages=Schedule(parse_explicit(text)))
    name, *rest = text.split(":")
    if name not in VARIANTS:
        close = get_close_matches(name, VARIANTS, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        raise UsageError(
            f"schedule {text!r}, column 1: no variant {name!r}.{hint}\nKnown: {', '.join(VARIANTS)}; or write the blocks."
        )
    variant = VARIANTS[name]
    columns = [len(name) + 2]  # of each part
    for part in rest:
        columns.append(columns[-1] + len(part) + 1)

    def wrong(number: int, what: str) -> UsageError:
        column = min(columns[number], len(text) + 1)
        return UsageError(f"schedule {text!r}, column {column}: {what}.\nIt is written {variant.form}.")

    place = _place(variant, rest.pop(0) if rest else None, wrong) if variant.place != "nothing" else ()
    done = len(columns) - 1 - len(rest)
    option = variant.default
    if rest and variant.option:
        option = _option(variant.option, rest.pop(0), lambda what: wrong(done, what))
        done += 1
    if rest:
        raise wrong(done, f"{rest[0]!r} is unexpected")
    return Spec(name, place, option)


def _place(variant: Variant, part: str | None, wrong: Callable[[int, str], UsageError]) -> tuple[int, ...]:
    wanted = {"start": "the start N", "block": "the block", "range": "the range A-B"}[variant.place]
    if not part:
        raise wrong(0, f"{wanted} is missing")
    pattern = r"(\d{1,9})-(\d{1,9})" if variant.place == "range" else r"(\d{1,9})"
    match = re.fullmatch(pattern, part, re.ASCII)
    if match is None:
        raise wrong(0, f"expected {wanted}, found {part!r}")
    numbers = tuple(map(int, match.groups()))
    if list(numbers) != sorted(numbers):
        raise wrong(0, f"the range {part} is empty: name the lower block first")
    return numbers


def _option(name: str, part: str, wrong: Callable[[str], UsageError]) -> int:
    match = re.fullmatch(rf"{name}=(\d{{1,9}})", part, re.ASCII)
    if match is None:
        raise wrong(f"expected {name}=NUMBER of at most 9 digits, found {part!r}")
    if name in ("loops", "times") and not 1 <= int(match[1]) <= 10_000:
        raise wrong(f"{name} is 1 to 10,000, found {match[1]}")
    return int(match[1])


@checked
def as_spec(schedule: ScheduleLike) -> Spec:
    """Return the `Spec` of a schedule in any form: text, `Spec` or stages.

    Raises
    ------
    UsageError
        The text is malformed, or the value is not a schedule in any form.
    ScheduleError
        The stages are not a valid schedule.

    Examples
    --------
    >>> str(as_spec("random:3")), str(as_spec(((0,), (1, 2))))
    ('random:3:seed=0', '0 (1|2)')
    """
    if isinstance(schedule, str):
        return parse_spec(schedule)
    if isinstance(schedule, Spec):
        return schedule
    return Spec("explicit", stages=schedule if isinstance(schedule, Schedule) else Schedule(schedule))


def parse_schedule(schedule: ScheduleLike, depth: int) -> tuple[Spec, Schedule]:
    """Return the `Spec` and the `Schedule` of a schedule in any form, for a model of `depth` blocks.

    Raises
    ------
    UsageError
        The text is malformed.
    ScheduleError
        The schedule is not valid for a model of this depth.

    Examples
    --------
    >>> spec, schedule = parse_schedule("skip:1", depth=6)
    >>> str(spec), str(schedule)
    ('skip:1', '0-1 5')
    """
    spec = as_spec(schedule)
    return spec, spec.schedule(depth)
