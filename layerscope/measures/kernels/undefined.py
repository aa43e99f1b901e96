"""The error for states on which a measure is undefined.

A kernel gives the reason. Its callers add what a kernel cannot know: the layer, the measure, the part of the tokens.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from layerscope.errors import MeasureError, two_lines

__all__ = ["Undefined", "undefined_context"]


class Undefined(MeasureError):  # noqa: N818 (a fact about states, not a failure of the program)
    """A measure is undefined on some states.

    Parameters
    ----------
    reason
        The reason, as a clause about the layer: "it is the same for every token".
    layer
        The layer, as a message names it; empty until a caller knows.
    remedy
        What to do instead of leaving the measure out.

    Attributes
    ----------
    measure, part
        The measure, and the part of the tokens, such as "on half of the sequences"; set by `undefined_context`.

    Examples
    --------
    >>> with undefined_context(measure="rsa", layer="layer 3 (block.2)"):
    ...     raise Undefined("it is the same for every token")
    Traceback (most recent call last):
    layerscope.measures.kernels.undefined.Undefined: layer 3 (block.2): rsa has no meaning there, because it is ...
    """

    def __init__(self, reason: str, layer: str = "", *, remedy: str = "") -> None:
        super().__init__(reason)
        self.reason, self.layer, self.remedy = reason, layer, remedy
        self.measure = self.part = ""

    def __str__(self) -> str:
        measure = self.measure or "the measure"
        layer = f"{self.layer}: " if self.layer else ""
        remedy = self.remedy or f"leave {measure} out"
        return two_lines(f"{layer}{measure} has no meaning {self.part or 'there'}, because {self.reason}; {remedy}")


@contextmanager
def undefined_context(*, layer: str = "", measure: str = "", part: str = "") -> Iterator[None]:
    """Add the layer, the measure or the part of the tokens to an `Undefined` that does not have them yet."""
    try:
        yield
    except Undefined as error:
        error.layer = error.layer or layer
        error.measure = error.measure or measure
        error.part = error.part or part
        raise
