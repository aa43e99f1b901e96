"""The report of a capture: counts, speed, and the file's attributes."""

from dataclasses import dataclass
from pathlib import Path

from rich.filesize import decimal

from layerscope.store.header import CaptureHeader
from layerscope.store.schema import SEQUENCE, TOKEN, Attribute

__all__ = ["CaptureReport"]


@dataclass(frozen=True)
class CaptureReport:
    """Result of a capture.

    Attributes
    ----------
    path
        The file; None for a capture into sinks only.
    sequences, tokens, rows
        Number of texts and tokens that the model ran, and number of rows recorded.
    truncated, skipped
        Number of texts that were truncated, and of texts without a token.
    seconds
        Wall time of running the model and recording its states.
    attributes
        Attributes of the file (also without a file): the model, the texts and the options.
    already_complete
        Whether the file was complete before, so that nothing ran.
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
        """Return the report on a file that was complete before."""
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
