"""A task and its examples, each a context with one or more continuations. Plain data; imports no tokenizer and no model."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Example", "Task"]


@dataclass(frozen=True)
class Example:
    """One example of a task.

    Attributes
    ----------
    id
        Name within the task.
    context
        Text given to the model.
    choices
        Continuations, leading space included. A single one is scored by its likelihood, several by which is likeliest.
    gold
        Index of the right continuation.
    """

    id: str
    context: str
    choices: tuple[str, ...]
    gold: int = 0


@dataclass(frozen=True)
class Task:
    """Examples of one kind.

    Attributes
    ----------
    name
        Name with its prefix, such as ``builtin:cloze``.
    kind
        ``continuation`` where every example has one continuation, ``choice`` where it has several.
    summary
        Description in one sentence.
    examples
        Examples, in order.
    chance
        Accuracy of guessing: with several choices the mean over examples of 1 / their number, else 0.
    """

    name: str
    kind: Literal["continuation", "choice"]
    summary: str
    examples: tuple[Example, ...]

    @property
    def chance(self) -> float:
        """Accuracy of guessing."""
        if self.kind == "continuation":
            return 0.0
        return sum(1 / len(example.choices) for example in self.examples) / len(self.examples)
