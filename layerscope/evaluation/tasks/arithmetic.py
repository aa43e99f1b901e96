"""``builtin:arithmetic``: sums and differences of small numbers, each with four results to choose from.

A choice, not a free continuation: a small model seldom writes the right digits, so that its accuracy would lie at the floor under
every schedule, while its preference among close numbers falls by degrees as the model is disturbed. The four are neighbours on
the number line with equally many digits, and the right one is each of them, from least to greatest, equally often: neither a
number's size nor its length tells. Four worked lines before the question say what is asked.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from layerscope.evaluation.tasks.task import Example

__all__ = ["arithmetic"]

_SEED = 0
_CHOICES = 4
_EACH = 32
_SHOWN = "4 + 3 = 7\n9 - 5 = 4\n16 + 8 = 24\n27 - 4 = 23\n"


@dataclass(frozen=True)
class Problems:
    """Problems of one sort.

    Attributes
    ----------
    name
        What the ids begin with.
    left, right
        The least and greatest of the two numbers.
    sign
        Plus or minus.
    gaps
        What may lie between a choice and the next.
    """

    name: str
    left: tuple[int, int]
    sign: str
    right: tuple[int, int]
    gaps: tuple[int, ...] = (1,)


_SORTS = (
    Problems("sum-small", (2, 9), "+", (2, 9)),
    Problems("difference-small", (4, 18), "-", (2, 9)),
    Problems("sum-large", (11, 79), "+", (2, 19), (1, 2, 10)),
    Problems("difference-large", (21, 99), "-", (2, 9), (1, 2, 10)),
)
"""From one digit to two. The sorts alternate, so that a part of the task holds all of them."""


def arithmetic() -> tuple[Example, ...]:
    """Return the problems, the same at every call.

    Examples
    --------
    >>> first = arithmetic()[0]
    >>> print(first.context.splitlines()[-1], first.choices, first.gold)
    8 + 8 = (' 16', ' 17', ' 18', ' 19') 0
    """
    draw = random.Random(_SEED)
    streams = [_problems(sort, draw) for sort in _SORTS]
    return tuple(next(stream) for _ in range(_EACH) for stream in streams)


def _problems(sort: Problems, draw: random.Random) -> Iterator[Example]:
    """Yield problems of a sort, none twice; the right result takes each place among the choices in turn."""
    seen = {line.partition(" =")[0] for line in _SHOWN.splitlines()}
    number = 0
    while True:
        left, right = draw.randint(*sort.left), draw.randint(*sort.right)
        question = f"{left} {sort.sign} {right}"
        gold = number % _CHOICES
        gap = draw.choice(sort.gaps)
        result = left + right if sort.sign == "+" else left - right
        choices = [result + gap * (place - gold) for place in range(_CHOICES)]
        if question in seen or choices[0] < 1 or len(str(choices[0])) < len(str(choices[-1])):
            continue
        seen.add(question)
        number += 1
        yield Example(f"{sort.name}-{number:02d}", f"{_SHOWN}{question} =", tuple(f" {n}" for n in choices), gold)
