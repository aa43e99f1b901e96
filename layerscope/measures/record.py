"""The record of a measure: everything known before it is computed.

The engine, the docs, ``layerscope list measures``, the citations and the law tests read it. This module imports no array
library, so listing the measures is fast.
"""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["CostClass", "Invariance", "Kind", "Measure"]


class Kind(StrEnum):
    """The shape of a measure's result."""

    PAIRWISE = "pairwise"
    """Compares two layers: a matrix ``(layer, layer_other)``."""
    PER_LAYER = "per-layer"
    """Describes one layer: a vector ``(layer,)``."""
    PER_BLOCK = "per-block"
    """Describes one block, from the states before and after it: a vector ``(block,)``."""


class CostClass(StrEnum):
    """Cost of a measure next to reading the states, for the choice among measures; `Measure.cost` has the terms."""

    CHEAP = "cheap"
    """Sums over tokens, taken in the pass that reads them."""
    MODERATE = "moderate"
    """Products of tokens × tokens or features × features for each layer."""
    EXPENSIVE = "expensive"
    """Decompositions or sorts of such products, for each layer or each pair of layers."""


class Invariance(StrEnum):
    """A transform of the states that leaves a measure unchanged.

    Each layer may have its own transform, except for `COMMON_ROTATION`.
    """

    ROTATION = "rotation"
    """The features of each layer are rotated by its own orthogonal matrix."""
    COMMON_ROTATION = "common_rotation"
    """The features of all layers are rotated by the same orthogonal matrix."""
    PERMUTATION = "permutation"
    """The features of each layer are permuted."""
    SCALE = "scale"
    """Each layer is multiplied by its own positive number."""
    TOKEN_SCALE = "token_scale"
    """Each token of each layer is multiplied by its own positive number."""
    TRANSLATION = "translation"
    """The same vector is added to all tokens of a layer."""
    INVERTIBLE_LINEAR = "invertible_linear"
    """The features of each layer are mixed by its own invertible matrix."""


@dataclass(frozen=True)
class Measure:
    """The record of one measure.

    Attributes
    ----------
    name, long_name
        Name in commands and files; name in figures and text.
    what
        Short description of at most 27 characters, for ``layerscope list measures``.
    kind
        A matrix over pairs of layers, or a vector over layers.
    definition
        The formula, as text and LaTeX.
    low, high
        Range of the values; infinite where there is no bound.
    symmetric
        Whether the two layers of a pair can be exchanged.
    self_value
        Value of a layer with itself; None for a measure of one layer or block.
    invariances
        All transforms of `Invariance` that leave the value unchanged; every other transform changes it.
    least_tokens
        Minimum number of tokens.
    needs_variation
        Whether it is undefined for a layer that is the same for every token.
    same_width
        Whether both layers of a pair must have the same number of features.
    on_sample
        Whether its estimator may use a sample of rows in memory.
    cost_class
        Coarse cost, to choose by.
    passes, memory, cost, bootstrap
        Texts: number of passes over the file, memory, cost, method of the intervals.
    reference
        Citation as text.
    cites
        Citation as keys of ``layerscope/citations.bib``; empty where nothing was published.
    estimator
        Class that computes it, as ``module:class``, imported on use.
    units
        Units of the value; empty for a pure number.
    needs_more_tokens_than_features
        Whether it has the same value for any two layers unless there are more tokens than features, and is refused then.
    companions
        Measures that are always computed with it, because they cost nothing and are read together.
    streams
        The streams that it needs besides the residual stream: ``attn``, ``mlp``.
    """

    name: str
    what: str
    long_name: str
    kind: Kind
    definition: str
    low: float
    high: float
    symmetric: bool
    self_value: float | None
    invariances: frozenset[Invariance]
    least_tokens: int
    same_width: bool
    needs_variation: bool
    on_sample: bool
    cost_class: CostClass
    passes: str
    memory: str
    cost: str
    bootstrap: str
    reference: str
    cites: tuple[str, ...]
    estimator: str
    units: str = ""
    needs_more_tokens_than_features: bool = False
    companions: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()

    @property
    def is_distance(self) -> bool:
        """Whether smaller values mean more alike, with 0 for a layer with itself."""
        return self.self_value == 0

    @property
    def range(self) -> str:
        """Range of the values as written in files, for instance ``[-1, 1]`` or ``[0, inf)``."""
        left = f"[{self.low:g}" if self.low > float("-inf") else "(-inf"
        right = f"{self.high:g}]" if self.high < float("inf") else "inf)"
        return f"{left}, {right}"
