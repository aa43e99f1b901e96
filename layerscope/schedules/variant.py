"""The variants as records: the numbers each takes, its text form and the figure of the paper.

Parsing, printing, listing, the columns of a sweep and the figures read `VARIANTS`.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from layerscope.schedules import variants
from layerscope.schedules.schedule import Schedule

__all__ = ["VARIANTS", "Variant"]


@dataclass(frozen=True)
class Variant:
    """A rule that makes a schedule for a model of any depth.

    Attributes
    ----------
    build
        Function of `layerscope.schedules.variants`, called as ``build(depth, *place, **option)``.
    place
        The numbers it takes: a start N, one block, a range of blocks, or nothing.
    figure
        Figures of the paper (arXiv 2407.09298) that show it.
    option
        Name of its integer option, ``seed``, ``loops`` or ``times``; None without one.
    """

    build: Callable[..., Schedule]
    place: Literal["nothing", "start", "block", "range"]
    figure: str
    option: str | None = None

    @property
    def name(self) -> str:
        """Name in a SPEC."""
        return self.build.__name__

    @property
    def summary(self) -> str:
        """Summary line of the function."""
        return (inspect.getdoc(self.build) or "").split("\n")[0]

    @property
    def default(self) -> int | None:
        """Default of the option."""
        return None if self.option is None else int(inspect.signature(self.build).parameters[self.option].default)

    @property
    def form(self) -> str:
        """Text form, with letters in place of numbers."""
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
"""All variants by name. Those with a start are the range variants, which ``--variants all`` selects."""
