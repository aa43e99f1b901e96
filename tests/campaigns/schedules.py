"""Campaign: parse random schedule strings.

Strings are drawn from the grammar and then mutated. Each must be refused with a `UsageError` of at most two lines, or become a
schedule whose printed form parses to the same schedule at every valid depth, in bounded time.
"""

import random
import time
from collections.abc import Iterator

from layerscope.errors import LayerScopeError, UsageError
from layerscope.schedules.spec import parse_spec
from layerscope.schedules.variant import VARIANTS
from tests.campaigns.report import Trial, run

RIGHT = ("refused", "read back", "read back, for no depth")
MOST_S = 2.0
_LONGEST = 100_000  # characters of a string

NUMBERS = [
    "0",
    "1",
    "3",
    "7",
    "12",
    "29",
    "00",
    "007",
    "99999",
    "100000",
    "999999999",
    "1000000000",
    "9" * 400,
    "٣",
    "²",
    "-1",
    "1.5",
]
SIGNS = [*"()|*-: ,=+.", "  ", "\t", "\n", "\0", "é", "–", "\udcff", "seed=", "loops=", "times=", "blend=0.5", ".attn"]


def strings(count: int, seed: int) -> Iterator[str]:
    """Draw schedule strings."""
    draw = random.Random(seed)
    for _ in range(count):
        text = (
            _named(draw) if draw.random() < 0.4 else " ".join(_item(draw) for _ in range(draw.choice([1, 1, 2, 3, 5])))
        )
        for _ in range(draw.choice([0, 0, 1, 1, 2, 4])):
            text = _mutated(draw, text)[:_LONGEST]
        yield text


def _number(draw: random.Random) -> str:
    return draw.choice(NUMBERS[:6] if draw.random() < 0.8 else NUMBERS)


def _item(draw: random.Random, depth: int = 0) -> str:
    kind = draw.random()
    if kind < 0.4:
        item = _number(draw)
    elif kind < 0.7:
        item = f"{_number(draw)}-{_number(draw)}"
    else:
        inner = [
            _item(draw, depth + 1) if depth < 3 and draw.random() < 0.1 else _number(draw)
            for _ in range(draw.randint(1, 4))
        ]
        item = f"({'|'.join(inner)})"
    return f"{item}*{_number(draw)}" if draw.random() < 0.3 else item


def _named(draw: random.Random) -> str:
    variant = VARIANTS[draw.choice([*VARIANTS])]
    place = {"nothing": [], "range": [f"{_number(draw)}-{_number(draw)}"]}.get(variant.place, [_number(draw)])
    option = [f"{variant.option}={_number(draw)}"] if variant.option and draw.random() < 0.6 else []
    return ":".join([variant.name, *place, *option])


def _mutated(draw: random.Random, text: str) -> str:
    place, other = sorted((draw.randrange(len(text) + 1), draw.randrange(len(text) + 1)))
    match draw.randrange(6):
        case 0:
            return text[:place] + draw.choice(SIGNS + NUMBERS) + text[place:]
        case 1:
            return text[:place] + text[other:]
        case 2:
            return text[:place] + text[place:other] * draw.choice([2, 3, 1000]) + text[other:]
        case 3:
            return text[place:other] + text[:place] + text[other:]
        case 4:
            return text.swapcase()
        case _:
            return text[:place] + chr(draw.randrange(1, 0x3000)) + text[place + 1 :]


def ending_of(text: str) -> tuple[str, str]:
    """Parse a string, print the result, and parse that again."""
    try:
        spec = parse_spec(text)
    except UsageError as error:
        return ("refused" if str(error).count("\n") < 2 else "refused in more than two lines"), str(error)
    printed = str(spec)
    if parse_spec(printed) != spec:
        return "reads back as another", printed
    fits = False
    for depth in (1, 2, 4, 30):
        try:
            schedule = spec.schedule(depth)
        except LayerScopeError:
            continue
        fits = True
        if parse_spec(str(schedule)).stages != schedule:
            return "stages read back as others", str(schedule)
    return ("read back" if fits else "read back, for no depth"), printed


def trials(count: int, seed: int) -> Iterator[Trial]:
    """Parse `count` strings; more than `MOST_S` seconds of processor time is a fault."""
    for text in strings(count, seed):
        begun = time.process_time()
        try:
            ending, words = ending_of(text)
        except Exception as error:
            ending, words = type(error).__name__, str(error)
        if time.process_time() - begun > MOST_S:
            ending = "too slow"
        yield Trial("strings", ending, f"{text[:200]!r}: {words[:200]}")


if __name__ == "__main__":
    run("schedule strings", RIGHT, trials, 20_000)
