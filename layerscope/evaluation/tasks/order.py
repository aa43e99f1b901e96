"""``builtin:order``: choose the outcome of a story of one to four steps.

There are three kinds of stories; the id gives the number of steps (``swaps-3-07``: three steps):

- ``swaps``: three people exchange three things. What does one of them have at the end? Every step matters.
- ``gifts``: a thing passes from hand to hand. Who has it at the end? The person named last is random.
- ``route``: a traveler follows given connections. Where does the last one lead?

Every candidate is a choice. Within a kind and a number of steps, the right choice takes each position equally often.
"""

import random
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

from layerscope.evaluation.tasks.task import Example

__all__ = ["order"]

_SEED = 0
_EACH = 12
_STEPS = (1, 2, 3, 4)
_PEOPLE = ("Anna", "Ben", "Clara", "David", "Emma", "Frank", "Grace", "Henry")
_THINGS = ("key", "coin", "ring", "pen", "cup", "hat", "ball", "book", "map", "bell")
_CITIES = ("Oslo", "Rome", "Paris", "Cairo", "London", "Berlin", "Madrid", "Tokyo", "Delhi", "Boston")


class Story(NamedTuple):
    """A story up to its question, the candidate answers, and the right one."""

    text: str
    candidates: list[str]
    answer: str


def order() -> tuple[Example, ...]:
    r"""Return the examples, the same at every call; kinds and numbers of steps alternate.

    Examples
    --------
    >>> example = next(example for example in order() if example.id.startswith("swaps-2"))
    >>> print(example.id, example.context, example.choices, example.gold, sep="\n")
    swaps-2-01
    Frank has the pen, Emma has the map and Henry has the book. Emma and Henry swap. Frank and Henry swap. Now Frank has the
    (' map', ' pen', ' book')
    0
    """
    draw = random.Random(_SEED)
    return tuple(
        _example(f"{kind}-{steps}-{number:02d}", tell(draw, steps), number + steps, draw)
        for number in range(1, _EACH + 1)
        for steps in _STEPS
        for kind, tell in _KINDS.items()
    )


def _example(name: str, story: Story, turn: int, draw: random.Random) -> Example:
    """Return an example with the right choice at position `turn`, modulo the number of choices."""
    others = [candidate for candidate in story.candidates if candidate != story.answer]
    draw.shuffle(others)
    gold = turn % len(story.candidates)
    choices = [*others[:gold], story.answer, *others[gold:]]
    return Example(name, story.text, tuple(f" {choice}" for choice in choices), gold)


def _swaps(draw: random.Random, steps: int) -> Story:
    people, things = draw.sample(_PEOPLE, 3), draw.sample(_THINGS, 3)
    holds = dict(zip(people, things, strict=True))
    text = "{} has the {}, {} has the {} and {} has the {}.".format(*(word for pair in holds.items() for word in pair))
    for _ in range(steps):
        one, other = draw.sample(people, 2)
        holds[one], holds[other] = holds[other], holds[one]
        text += f" {one} and {other} swap."
    asked = draw.choice(people)
    return Story(f"{text} Now {asked} has the", things, holds[asked])


def _gifts(draw: random.Random, steps: int) -> Story:
    people, thing = draw.sample(_PEOPLE, 4), draw.choice(_THINGS)
    holder = people[0]
    text = f"{holder} has the {thing}."
    for _ in range(steps):
        receiver = draw.choice([person for person in people if person != holder])
        text += f" {holder} gives the {thing} to {receiver}."
        holder = receiver
    # The last name is random, so that it does not give the answer away.
    text += f" {draw.choice(people)} smiles."
    return Story(f"{text} Now the one who has the {thing} is", people, holder)


def _route(draw: random.Random, steps: int) -> Story:
    cities = draw.sample(_CITIES, 5)
    lines = [f"The bus from {one} goes to {other}." for one, other in pairwise(cities)]
    draw.shuffle(lines)
    text = " ".join([*lines, f"A traveller starts in {cities[0]}."])
    text += "".join(f" The bus takes her to {city}." for city in cities[1:steps])
    return Story(f"{text} The bus takes her to", cities[1:], cities[steps])


_KINDS: dict[str, Callable[[random.Random, int], Story]] = {"swaps": _swaps, "gifts": _gifts, "route": _route}
