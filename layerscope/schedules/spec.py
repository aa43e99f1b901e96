"""Schedules by name: the SPEC of the command line, such as ``skip:12`` or ``looped_parallel:12:loops=3``.

One record a variant says what it takes; parsing, printing, listing and the columns of a sweep all read it.
"""

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Literal

from layerscope.arguments import check_fields, checked
from layerscope.errors import UsageError, unknown_name
from layerscope.schedules import variants
from layerscope.schedules.grammar import parse_explicit
from layerscope.schedules.printing import print_explicit
from layerscope.schedules.schedule import Schedule

__all__ = ["VARIANTS", "ScheduleLike", "Spec", "Variant", "as_spec", "parse_schedule", "parse_spec"]

Place = Literal["nothing", "start", "block", "range"]


@dataclass(frozen=True)
class Variant:
    """A family of schedules.

    Attributes
    ----------
    build
        Called as ``build(depth, *place, **option)``; see `layerscope.schedules.variants`.
    place
        What its number means: a start N, one block, a range of blocks, or it takes none.
    figure
        Where the paper (arXiv 2407.09298) shows it.
    option
        The one integer option with its default: ``seed``, ``loops`` or ``times``; None without.
    """

    build: Callable[..., Schedule]
    place: Place
    figure: str
    option: str | None = None

    @property
    def name(self) -> str:
        """Its name in a SPEC."""
        return self.build.__name__

    @property
    def summary(self) -> str:
        """What it does, in a sentence."""
        return (inspect.getdoc(self.build) or "").split("\n")[0]

    @property
    def default(self) -> int | None:
        """The default of its option."""
        return None if self.option is None else int(inspect.signature(self.build).parameters[self.option].default)

    @property
    def form(self) -> str:
        """How it is written."""
        place = {"nothing": "", "start": ":N", "block": ":I", "range": ":A-B"}[self.place]
        return f"{self.name}{place}" + (f":{self.option}={self.default}" if self.option else "")


VARIANTS: dict[str, Variant] = {
    variant.name: variant
    for variant in (
        Variant(variants.identity, "nothing", ""),
        Variant(variants.skip, "start", "4, 12"),
        Variant(variants.middle_repeat, "start", "5"),
        Variant(variants.reverse, "start", "6"),
        Variant(variants.random, "start", "7", option="seed"),
        Variant(variants.parallel, "start", "8"),
        Variant(variants.looped_parallel, "start", "9, 10", option="loops"),
        Variant(variants.drop, "block", "2"),
        Variant(variants.swap, "block", "2"),
        Variant(variants.repeat, "range", "17", option="times"),
        Variant(variants.repeat_each, "range", "17", option="times"),
    )
}
"""All variants by name. Those with a start are the range variants, which ``--variants all`` means."""


@dataclass(frozen=True)
class Spec:
    """A schedule as it is asked for; it becomes definite for a model of a certain depth.

    Attributes
    ----------
    variant
        A name of `VARIANTS`, or ``explicit``.
    place
        The numbers after the name: none, a start or block, or the two ends of a range.
    option
        The value of the variant's option; None where it has none.
    stages
        The stages of an explicit schedule.

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
            raise UsageError("Spec: the variant 'explicit' has stages, and no other variant has")
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
            When such a model has none.
        """
        if self.stages is not None:
            self.stages.check_depth(depth)
            return self.stages
        variant = VARIANTS[self.variant]
        option = {} if variant.option is None or self.option is None else {variant.option: self.option}
        return variant.build(depth, *self.place, **option)

    def affected(self, depth: int) -> int:
        """Return how many blocks the schedule affects; -1 for an explicit one."""
        if self.variant == "explicit":
            return -1
        counted: dict[str, Callable[[], int]] = {
            "nothing": lambda: 0,
            "start": lambda: len(variants.affected(depth, self.place[0])),
            "block": lambda: 2 if self.variant == "swap" else 1,
            "range": lambda: self.place[1] - self.place[0] + 1,
        }
        return counted[VARIANTS[self.variant].place]()

    @property
    def start(self) -> int:
        """N, or the (first) block; -1 where there is none."""
        return self.place[0] if self.place else -1

    @property
    def seed(self) -> int:
        """The seed of a shuffle, else -1."""
        return self._option("seed")

    @property
    def loops(self) -> int:
        """How often the parallel stage runs, else -1."""
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
"""A schedule in any form that the public functions take."""


@checked
def parse_spec(text: str) -> Spec:
    """Read a SPEC: a variant with its numbers, or an explicit schedule.

    Parameters
    ----------
    text
        ``identity``, ``skip:N``, ``random:N:seed=0``, ``repeat:A-B:times=2``, … (see `VARIANTS`), or the explicit form of
        `layerscope.schedules.grammar`. An option left out takes its default.

    Returns
    -------
    Spec
        Its ``str`` is the canonical text, options written out.

    Raises
    ------
    UsageError
        Malformed text, with the column (from 1).

    Examples
    --------
    >>> str(parse_spec("looped_parallel:12")), str(parse_spec("0-2 (3|4)*2 5"))
    ('looped_parallel:12:loops=3', '0-2 (3|4)*2 5')
    """
    if not text[:1].isalpha():
        return Spec("explicit", stages=parse_explicit(text))
    name, *rest = text.split(":")
    if name not in VARIANTS:
        close = get_close_matches(name, VARIANTS, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        raise UsageError(
            f"schedule {text!r}, column 1: no variant {name!r}.{hint}\nKnown: {', '.join(VARIANTS)}; or write the blocks."
        )
    variant = VARIANTS[name]
    columns = [len(name) + 2]  # where each part begins
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
        raise wrong(done, f"{rest[0]!r} is one part too many")
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
    """Return what a schedule given in any form (text, `Spec`, stages) is called, for whatever model.

    Raises
    ------
    UsageError
        Malformed text, or no schedule in any form.
    ScheduleError
        Stages that make no schedule.

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
    """Return a schedule given in any form, and what it is called, for a model of `depth` blocks.

    Raises
    ------
    UsageError
        Malformed text.
    ScheduleError
        A schedule of another depth, or one that is none.

    Examples
    --------
    >>> spec, schedule = parse_schedule("skip:1", depth=6)
    >>> str(spec), str(schedule)
    ('skip:1', '0-1 5')
    """
    spec = as_spec(schedule)
    return spec, spec.schedule(depth)
