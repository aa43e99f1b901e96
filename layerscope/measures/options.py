"""The options of an analysis: one frozen record, and how a size in bytes is read.

`layerscope.analyze`, `layerscope.analyze_model`, ``layerscope analyze`` and the provenance of a result all read
`AnalysisOptions`. This module imports no array library.
"""

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from layerscope.errors import MOST_DRAWS, UsageError, at_least, unknown_name
from layerscope.measures.catalogue import DEFAULT_MEASURES, MEASURES, find_measures
from layerscope.measures.record import Kind
from layerscope.stream_names import STREAMS, axis_word

__all__ = ["AnalysisOptions", "parse_memory"]


@dataclass(frozen=True, kw_only=True)
class AnalysisOptions:
    """Options that decide what an analysis computes, and from which tokens.

    The fields are parameters of `layerscope.analyze` and are documented there; `memory` is in bytes.

    Raises
    ------
    UsageError
        An impossible number.

    Examples
    --------
    >>> AnalysisOptions.from_arguments(measures="norm", memory="2GB").memory
    2000000000
    """

    measures: tuple[str, ...] = DEFAULT_MEASURES
    stream: str = "resid"
    align: str = "auto"
    exclude_first: int = 0
    bootstrap: int = 0
    null: int = 0
    ceiling: int = 0
    memory: int = 4_000_000_000
    device: str = "cpu"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.stream not in STREAMS:
            raise unknown_name("stream", self.stream, STREAMS)
        of_blocks = [name for name in self.measures if MEASURES[name].kind is Kind.PER_BLOCK]
        if of_blocks and self.stream != "resid":
            raise UsageError(
                f"{', '.join(of_blocks)} compare with the residual stream: leave out --stream {self.stream}"
            )
        at_least(0, exclude_first=self.exclude_first, seed=self.seed)
        at_least(0, most=MOST_DRAWS, bootstrap=self.bootstrap, null=self.null, ceiling=self.ceiling)

    @property
    def added(self) -> tuple[str, ...]:
        """The streams that the measures need besides the residual stream."""
        return tuple(name for name in STREAMS if any(name in MEASURES[one].streams for one in self.measures))

    @property
    def axis_word(self) -> str:
        """What the analysed stream has along ``layer``: layers or blocks."""
        return axis_word({"stream": self.stream})

    @classmethod
    def from_arguments(
        cls, *, measures: str | Iterable[str] | None = None, memory: str | int = "4GB", **options: Any
    ) -> "AnalysisOptions":
        """Return the options of a call: the measures checked and by name, the memory in bytes."""
        names = tuple(measure.name for measure in find_measures(measures))
        return cls(measures=names, memory=parse_memory(memory), **options)

    def recorded(self, measures: Iterable[str]) -> dict[str, Any]:
        """Return the options as the provenance of a result records them, with the measures that were computed.

        How tokens were paired is recorded by the attributes of the pairing, so `align` is not among them.
        """
        return {name: value for name, value in asdict(self).items() if name != "align"} | {"measures": list(measures)}


def parse_memory(memory: str | int) -> int:
    """Return a number of bytes written as ``4GB``, ``500MB``, ``2GiB`` or a plain number.

    Raises
    ------
    UsageError
        Not a size.

    Examples
    --------
    >>> parse_memory("4GB"), parse_memory("1.5 MiB"), parse_memory(1000)
    (4000000000, 1572864, 1000)
    """
    text = str(memory).strip()
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", text, re.IGNORECASE)
    if not match or not float(match[1]):
        raise UsageError(f"--memory is {text!r}, expected a size like 4GB, 500MB or 2GiB")
    power = " KMGT".index(match[2].upper() or " ")
    return int(float(match[1]) * (1024 if match[3] else 1000) ** power)
