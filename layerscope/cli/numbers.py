"""Numbers with a word among them, as options give them."""

from layerscope.errors import UsageError

__all__ = ["segment_count"]


def segment_count(text: str) -> int | str:
    """Read ``--segments``: a number of 1 or more, or ``auto``.

    Examples
    --------
    >>> segment_count("3"), segment_count("auto")
    (3, 'auto')
    """
    if text == "auto":
        return text
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"--segments {text!r}: give a number of 1 or more, or auto")
    return int(text)
