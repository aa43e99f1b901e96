"""What a capture did, for whoever asked for it. Knows no model and no rows."""

from dataclasses import dataclass
from pathlib import Path

from rich.filesize import decimal

from layerscope.store.header import CaptureHeader
from layerscope.store.schema import SEQUENCE, TOKEN, Attribute

__all__ = ["CaptureReport"]


@dataclass(frozen=True)
class CaptureReport:
    """What a capture did.

    Attributes
    ----------
    path
        The file; None when only sinks were fed.
    sequences, tokens, rows
        Texts run, tokens the model was run on, and token rows kept.
    truncated, skipped
        Texts cut to the longest allowed length, and texts without a token.
    seconds
        Wall time of running the model and keeping its states.
    attributes
        What the file says of itself, or would: the model, the texts, how they were run.
    already_complete
        The file was finished before: nothing was done.
    """

    path: Path | None
    sequences: int
    tokens: int
    rows: int
    truncated: int
    skipped: int
    seconds: float
    attributes: dict[str, Attribute]
    already_complete: bool = False

    @classmethod
    def of_complete(cls, header: CaptureHeader) -> "CaptureReport":
        """Return the report on a file that was finished before."""
        sequences, rows = header.sizes[SEQUENCE], header.sizes[TOKEN]
        return cls(header.path, sequences, 0, rows, 0, 0, 0.0, header.attributes, already_complete=True)

    def __str__(self) -> str:
        if self.already_complete:
            return f"{self.path}: complete already, nothing to do"
        size = f" ({decimal(self.path.stat().st_size)})" if self.path else ""
        notes = [f"{self.truncated} texts truncated"] * (self.truncated > 0) + [f"{self.skipped} skipped"] * (
            self.skipped > 0
        )
        return (
            f"{self.path or 'statistics'}: {self.sequences:,} sequences, {self.rows:,} rows{size}, "
            f"{self.tokens / max(self.seconds, 1e-9):,.0f} tokens/s" + "".join(f"; {note}" for note in notes)
        )
