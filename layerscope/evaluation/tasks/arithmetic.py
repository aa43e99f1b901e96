"""``builtin:arithmetic``: choose among four numbers the sum or difference of two small numbers.

The task is a choice, because a small model seldom generates the right digits: its accuracy would be at the floor under every
schedule. Its preference among close numbers declines gradually as the model is disturbed. The four numbers are neighbors on the
number line with equally many digits, and the right one has each rank equally often, so neither size nor length gives it away.
Four worked examples precede the question.
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
    """Problems of one type.

    Attributes
    ----------
    name
        Prefix of the ids.
    left, right
        Range of each number.
    sign
        Plus or minus sign.
    gaps
        Possible distances between neighboring choices.
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
"""From one digit to two. The types alternate, so that any part of the task has all of them."""


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
    """Yield distinct problems of one type; the right result takes each rank among the choices in turn."""
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
