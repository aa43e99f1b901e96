"""What a task is made of: examples, each a context with one or more continuations.

Plain data. Knows no tokenizer and no model.
"""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Example", "Task"]


@dataclass(frozen=True)
class Example:
    """One question to a model.

    Attributes
    ----------
    id
        Its name within the task.
    context
        What the model is given.
    choices
        What may follow, as it follows (leading space included). One: the model is scored on saying it. Several: on
        preferring the right one.
    gold
        Which of them is right.
    """

    id: str
    context: str
    choices: tuple[str, ...]
    gold: int = 0


@dataclass(frozen=True)
class Task:
    """Examples of one kind, and how they are counted.

    Attributes
    ----------
    name
        As it is asked for: ``builtin:cloze``.
    kind
        ``continuation`` where every example has one continuation, ``choice`` where it has several.
    summary
        What it asks, in a sentence.
    examples
        The questions, in order.
    chance
        The main metric, accuracy, of guessing: with several choices the mean over examples of 1 / their number; else 0.
    """

    name: str
    kind: Literal["continuation", "choice"]
    summary: str
    examples: tuple[Example, ...]

    @property
    def chance(self) -> float:
        """The accuracy of guessing."""
        if self.kind == "continuation":
            return 0.0
        return sum(1 / len(example.choices) for example in self.examples) / len(self.examples)
