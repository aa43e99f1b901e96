"""What a kernel says to states on which a measure has no meaning.

A kernel knows no layers: whoever called it for a layer says which one it was. This module knows nothing else.
"""

__all__ = ["Undefined"]


class Undefined(Exception):  # noqa: N818 (no failure of the program: a fact about states)
    """A measure has no meaning on a layer: the reason, and once it is known, which layer."""

    def __init__(self, reason: str, where: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.where = where
