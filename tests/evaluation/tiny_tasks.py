"""Two little tasks in the words of the tiny tokenizer."""

import random

from layerscope.evaluation.tasks.task import Example, Task

_DRAW = random.Random(7)


def _words(least: int, most: int) -> str:
    return " ".join(f"w{_DRAW.randrange(95)}" for _ in range(_DRAW.randint(least, most)))


CLOZE = Task(
    "test:cloze",
    "continuation",
    "Words after words.",
    tuple(Example(f"c{number}", _words(2, 12), (f" {_words(1, 3)}",)) for number in range(9)),
)
CHOICES = Task(
    "test:choices",
    "choice",
    "Words against words.",
    tuple(
        Example(f"q{number}", _words(2, 9), tuple(f" {_words(1, 3)}" for _ in range(2 + number % 3)), number % 2)
        for number in range(7)
    ),
)
