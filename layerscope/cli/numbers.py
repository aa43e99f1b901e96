"""Read the numbers of options that also take a word or a list."""

from collections.abc import Sequence

from layerscope.errors import UsageError

__all__ = ["number_or_auto", "scores_by_name", "whole_numbers"]


def number_or_auto(option: str, text: str) -> int | str:
    """Read a number of 1 or more, or ``auto``, such as ``--segments``.

    Examples
    --------
    >>> number_or_auto("--segments", "3"), number_or_auto("--segments", "auto")
    (3, 'auto')
    """
    if text == "auto":
        return text
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"{option} {text!r}: give a number of 1 or more, or auto")
    return int(text)


def scores_by_name(given: Sequence[str]) -> dict[str, float]:
    """Read ``--chance``: each TASK=SCORE.

    Examples
    --------
    >>> scores_by_name(["builtin:order=0.25"])
    {'builtin:order': 0.25}
    """
    scores = {}
    for text in given:
        name, _, number = text.rpartition("=")
        try:
            scores[name] = float(number)
        except ValueError:
            raise UsageError(f"--chance {text!r}: give TASK=SCORE, such as builtin:order=0.25") from None
        if not name or not 0 <= scores[name] < 1:
            raise UsageError(f"--chance {text!r}: give TASK=SCORE with a score from 0 to below 1")
    return scores


def whole_numbers(option: str, text: str) -> list[int]:
    """Read whole numbers separated by commas, such as ``--steps``.

    Examples
    --------
    >>> whole_numbers("--steps", "0, 512,143000")
    [0, 512, 143000]
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise UsageError(f"{option} {text!r}: give whole numbers separated by commas, such as 0,512,1000")
    return [int(part) for part in parts]
