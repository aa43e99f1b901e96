"""Refuse texts that matplotlib cannot draw: between dollar signs it reads a formula."""

from collections.abc import Mapping
from typing import Any

from matplotlib.cbook import is_math_text
from matplotlib.figure import Figure
from matplotlib.mathtext import MathTextParser
from matplotlib.text import Text

from layerscope.errors import UsageError

__all__ = ["check_texts", "mathtext_error"]


def mathtext_error(line: str) -> str | None:
    r"""Return why matplotlib cannot read the formulas of a line of text, None where it can.

    Examples
    --------
    >>> mathtext_error(r"$R^2$ of 5 \$"), mathtext_error(r"$\sqrt$")
    (None, 'Expected \\sqrt{value}')
    """
    if not is_math_text(line):
        return None
    try:
        MathTextParser("path").parse(line)
    except ValueError as error:
        last = str(error).strip().splitlines()[-1]
        return last.partition(":")[2].partition(", found")[0].strip() or last
    return None


def check_texts(figure: Figure, arguments: Mapping[str, Any]) -> None:
    """Refuse a figure with a text that is invalid mathtext.

    Parameters
    ----------
    figure
        The figure.
    arguments
        What the caller passed to the function that drew it, by name.

    Raises
    ------
    UsageError
        Names the argument that is the text, or the first argument, whose data hold it.
    """
    for artist in figure.findobj(Text):
        assert isinstance(artist, Text)
        if artist.get_usetex() or not artist.get_parse_math():
            continue
        for line in artist.get_text().split("\n"):
            why = mathtext_error(line)
            if why is not None:
                equal = (name for name, value in arguments.items() if isinstance(value, str) and line in value)
                place = next(equal, None) or f"a text of {next(iter(arguments), 'the figure')}"
                raise UsageError(
                    f"{place}: {line!r} is not valid mathtext: {why}\nwrite \\$ for a dollar sign that begins no formula"
                )
