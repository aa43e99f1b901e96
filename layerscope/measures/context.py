"""What an analysis knows before its first row, and what an estimator gives back.

Shared by all families; knows neither files nor formulas.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int

from layerscope.errors import MeasureError
from layerscope.measures.kernels.bootstrap import Resampling

__all__ = ["EXACT_TOKENS", "AnalysisContext", "Axis", "Baseline", "Estimate"]

EXACT_TOKENS = 4096
"""Up to so many tokens nothing is sampled: CKA uses all of them at once, medians are exact."""


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
    """

    layer: Int[np.ndarray, " layer"]
    layer_name: tuple[str, ...]
    width: int

    def __len__(self) -> int:
        return len(self.layer)

    def describe(self, index: int) -> str:
        """Name a layer in a message, for instance ``layer 3 (block.2)``."""
        return f"layer {self.layer[index]} ({self.layer_name[index]})"

    @contextmanager
    def layer_context(self, index: int) -> Iterator[None]:
        """Say of which layer a kernel, which knows none, speaks when it refuses."""
        try:
            yield
        except MeasureError as refusal:
            raise MeasureError(f"{self.describe(index)}: {refusal}") from refusal


@dataclass(frozen=True)
class AnalysisContext:
    """The states to be analysed and the options.

    Attributes
    ----------
    first, second
        The layers of the capture, and of the other one where two are compared.
    dtype
        In which rows are multiplied: float64 for float64 states, else float32. Sums are float64 always.
    rows
        The numbers of the rows analysed, ascending; None when rows are seen only once and their number is not known.
    sequences
        How many sequences to make room for; more are taken as they come.
    exclude_first, bootstrap, memory, seed
        Positions left out at the start of each sequence, replicates, bytes, seed of everything drawn.
    null, ceiling
        Pairings of the texts by chance, splits into halves.
    precision
        The machine epsilon with which the states are known (see `StateSource`); None for that of `dtype`.
    """

    first: Axis
    second: Axis | None
    dtype: torch.dtype
    rows: Int[np.ndarray, " token"] | None
    sequences: int = 1
    exclude_first: int = 0
    bootstrap: int = 0
    memory: int = 4_000_000_000
    seed: int = 0
    null: int = 0
    ceiling: int = 0
    precision: float | None = None

    @property
    def epsilon(self) -> float:
        """The machine epsilon with which the states are known."""
        return torch.finfo(self.dtype).eps if self.precision is None else self.precision

    @property
    def axes(self) -> list[Axis]:
        """The layers of the capture, and of the second one where there is one."""
        return [self.first] if self.second is None else [self.first, self.second]

    @property
    def other(self) -> Axis:
        """The layers of ``layer_other``: the second capture's, else the same again."""
        return self.first if self.second is None else self.second

    @property
    def tokens(self) -> int | None:
        """How many tokens are analysed, where that is known beforehand."""
        return None if self.rows is None else len(self.rows)

    @property
    def row_bytes(self) -> int:
        """The bytes of one token's states, of both captures, as they are computed with."""
        values = len(self.first) * self.first.width
        if self.second is not None:
            values += len(self.second) * self.second.width
        return values * self.dtype.itemsize


@dataclass(frozen=True)
class Estimate:
    """The arrays of one measure, and how they were made.

    Attributes
    ----------
    value
        ``[layer, layer_other]`` or ``[layer]``.
    tokens
        How many tokens it speaks of.
    estimator
        In words, what was computed.
    chosen
        What the estimator chose: ``batch_size``, ``batches``, ``sample``, ….
    value_other
        The second capture's statistic, ``[layer_other]``.
    replicates, replicates_other
        ``[replicate, …]`` as the value; None without a bootstrap.
    resampling
        How the replicates were made.
    """

    value: Float[np.ndarray, "..."]
    tokens: int
    estimator: str
    chosen: dict[str, int | float | str] = field(default_factory=dict)
    value_other: Float[np.ndarray, "..."] | None = None
    replicates: Float[np.ndarray, "..."] | None = None
    replicates_other: Float[np.ndarray, "..."] | None = None
    resampling: Resampling | None = None

    @classmethod
    def of_layers(
        cls,
        values: Sequence[Float[np.ndarray, " _layer"]],
        tokens: int,
        estimator: str,
        chosen: dict[str, int | float | str] | None = None,
        *,
        replicates: Sequence[Float[np.ndarray, "replicate _layer"] | None] = (),
        resampling: Resampling | None = None,
    ) -> "Estimate":
        """Make the estimate of a statistic of layers from its values in each capture, and their replicates."""
        return cls(
            values[0],
            tokens,
            estimator,
            chosen or {},
            value_other=values[1] if len(values) > 1 else None,
            replicates=replicates[0] if replicates else None,
            replicates_other=replicates[1] if len(replicates) > 1 else None,
            resampling=resampling,
        )


@dataclass(frozen=True)
class Baseline:
    """What chance, or halves of the states, say of one pairwise measure.

    Attributes
    ----------
    measure
        Its name.
    arrays
        ``[layer, layer_other]`` by what follows the name: ``null``, ``ceiling``, ….
    facts
        How they were made.
    """

    measure: str
    arrays: dict[str, Float[np.ndarray, "layer layer_other"]]
    facts: dict[str, int | float | str]
