"""Quantities of a sweep that figures draw."""

from dataclasses import dataclass
from typing import Literal

from layerscope.errors import unknown_name

__all__ = ["QUANTITIES", "Quantity", "quantity_of"]


@dataclass(frozen=True)
class Quantity:
    """Quantity that a sweep has for each run.

    Attributes
    ----------
    name
        Name of its variable in the sweep.
    words
        Name of its axis.
    better
        1 if larger values are better, -1 if smaller ones are.
    ends
        Values of chance and of the full model, if they are the same for all tasks.
    middle
        Average over several tasks: their median, or, as for GLUE, their mean.
    """

    name: str
    words: str
    better: int
    ends: tuple[float, float] | None = None
    middle: Literal["median", "mean"] = "median"

    @property
    def short(self) -> str:
        """Short name of its axis."""
        return "normalised score" if self.ends else self.words.split(" (")[0]

    @property
    def names(self) -> list[str]:
        """Names of its axis, longest first."""
        return [self.words, self.short]

    @property
    def counts_answers(self) -> bool:
        """Whether it counts correct answers, so that chance has a level."""
        return self.better > 0

    @property
    def logarithmic(self) -> bool:
        """Whether its axis is logarithmic."""
        return self.name == "perplexity"


QUANTITIES: dict[str, Quantity] = {
    quantity.name: quantity
    for quantity in (
        Quantity("normalized", "score (0: chance, 1: full model)", 1, (0.0, 1.0)),
        Quantity("loss", "loss (nats per token)", -1),
        Quantity("loss_difference", "loss increase (nats per token)", -1),
        Quantity("accuracy", "accuracy", 1),
        Quantity("accuracy_norm", "accuracy, by length", 1),
        Quantity("perplexity", "perplexity", -1),
        Quantity("score", "score (each task's own)", 1, middle="mean"),
    )
}


def quantity_of(name: str) -> Quantity:
    """Return a quantity by name.

    Raises
    ------
    UsageError
        There is no such quantity.
    """
    if name not in QUANTITIES:
        raise unknown_name("quantity", name, QUANTITIES)
    return QUANTITIES[name]
