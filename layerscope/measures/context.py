"""The context of an analysis, known before its first row and shared by all estimators: layers, options, rows."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Int

from layerscope.measures.kernels.undefined import undefined_context
from layerscope.measures.options import AnalysisOptions

__all__ = ["EXACT_TOKENS", "AnalysisContext", "Axis"]

EXACT_TOKENS = 4096
"""Largest number of tokens that is never sampled: CKA uses all tokens at once, medians are exact."""


@dataclass(frozen=True)
class Axis:
    """The layers of one capture.

    Attributes
    ----------
    layer
        The state numbers.
    layer_name
        ``embedding``, ``block.0``, ….
    width
        Features of a state.
    word
        Name of its entries: ``layer``, or ``block`` for the contributions of blocks.
    """

    layer: Int[np.ndarray, " layer"]
    layer_name: tuple[str, ...]
    width: int
    word: str = "layer"

    @property
    def blocks(self) -> Int[np.ndarray, " block"]:
        """The blocks of which the states before and after are among the layers."""
        return self.layer[np.isin(self.layer + 1, self.layer)]

    def __len__(self) -> int:
        return len(self.layer)

    def describe(self, index: int) -> str:
        """Name a layer in a message, for instance ``layer 3 (block.2)``."""
        return f"{self.word} {self.layer[index]} ({self.layer_name[index]})"

    def layer_context(self, index: int) -> AbstractContextManager[None]:
        """Add the name of a layer to the `Undefined` that a kernel raises for it."""
        return undefined_context(layer=self.describe(index))


@dataclass(frozen=True)
class AnalysisContext:
    """The states of an analysis, and its options.

    Attributes
    ----------
    first, second
        Layers of the capture, and of the second capture if two are compared.
    dtype
        Type in which rows are multiplied: float64 for float64 states, else float32. Sums are always float64.
    rows
        Numbers of the analysed rows, ascending; None when rows are seen once and their number is unknown.
    sequences
        Number of sequences to allocate; more are added as they come.
    options
        Options of the analysis.
    precision
        Machine epsilon of the stored states (see `StateSource`); None for that of `dtype`.
    """

    first: Axis
    second: Axis | None
    dtype: torch.dtype
    rows: Int[np.ndarray, " token"] | None
    sequences: int = 1
    options: AnalysisOptions = field(default_factory=AnalysisOptions)
    precision: float | None = None

    @property
    def epsilon(self) -> float:
        """Machine epsilon of the states."""
        return torch.finfo(self.dtype).eps if self.precision is None else self.precision

    @property
    def axes(self) -> list[Axis]:
        """The layers of each capture."""
        return [self.first] if self.second is None else [self.first, self.second]

    @property
    def other(self) -> Axis:
        """The layers of ``layer_other``: those of the second capture if there is one, else of the first."""
        return self.first if self.second is None else self.second

    @property
    def tokens(self) -> int | None:
        """Number of analysed tokens; None if it is not known before the first pass."""
        return None if self.rows is None else len(self.rows)

    @property
    def row_bytes(self) -> int:
        """Bytes of one token's states in all captures, in the type of computation."""
        values = len(self.first) * self.first.width
        if self.second is not None:
            values += len(self.second) * self.second.width
        return values * self.dtype.itemsize
