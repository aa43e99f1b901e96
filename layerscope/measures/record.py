"""What is known of a measure before it is computed.

The record is what the engine, the docs, ``layerscope list measures``, the citations and the law tests read. It knows no
array library: listing the measures costs no import.
"""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Invariance", "Kind", "Measure"]


class Kind(StrEnum):
    """What a measure speaks of."""

    PAIRWISE = "pairwise"
    """Two layers: a matrix ``(layer, layer_other)``."""
    PER_LAYER = "per-layer"
    """One layer: a vector ``(layer,)``."""


class Invariance(StrEnum):
    """A change of the states that leaves a measure as it is.

    Unless the name says otherwise each layer may be changed by a transform of its own.
    """

    ROTATION = "rotation"
    """Each layer's features turned by its own orthogonal matrix."""
    COMMON_ROTATION = "common_rotation"
    """All layers' features turned by the same orthogonal matrix."""
    PERMUTATION = "permutation"
    """Each layer's features in another order."""
    SCALE = "scale"
    """Each layer multiplied by its own positive number."""
    TOKEN_SCALE = "token_scale"
    """Each token of each layer multiplied by its own positive number."""
    TRANSLATION = "translation"
    """The same vector added to all tokens of a layer."""
    INVERTIBLE_LINEAR = "invertible_linear"
    """Each layer's features mixed by its own invertible matrix."""


@dataclass(frozen=True)
class Measure:
    """The record of one measure.

    Attributes
    ----------
    name, long_name
        The name in commands and files, and the one for people.
    kind
        A matrix over pairs of layers, or a vector over layers.
    definition
        The formula, in words and LaTeX.
    low, high
        The range of values; infinite where there is no bound.
    symmetric
        Whether the layers of a pair may be exchanged.
    self_value
        The value of a layer with itself; None for a per-layer measure.
    invariances
        All transforms of `Invariance` that leave the value as it is; those not named change it.
    least_tokens
        The fewest tokens it can be computed on.
    needs_variation
        Whether it has no meaning for a layer that is the same for every token.
    same_width
        Whether both layers of a pair must have the same number of features.
    on_sample
        Whether its estimator may fall back on a sample of rows held in memory.
    passes, memory, cost, bootstrap
        In words: how often the file is read, what is held, what it costs, how intervals are made.
    reference
        Whom to cite, in words.
    cites
        The same as keys of the table of citations; empty where nothing was published.
    family
        The accumulator that computes it, as ``module:class``, imported on use.
    units
        Of the value; empty for a pure number.
    needs_more_tokens_than_features
        Whether it is the same for any two layers where tokens are not more than features, and is therefore refused there.
    """

    name: str
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
    passes: str
    memory: str
    cost: str
    bootstrap: str
    reference: str
    cites: tuple[str, ...]
    estimator: str
    units: str = ""
    needs_more_tokens_than_features: bool = False

    @property
    def is_distance(self) -> bool:
        """Whether a layer with itself is 0 and less is more alike."""
        return self.self_value == 0

    @property
    def range(self) -> str:
        """The range of values as written in files, for instance ``[-1, 1]`` or ``[0, inf)``."""
        left = f"[{self.low:g}" if self.low > float("-inf") else "(-inf"
        right = f"{self.high:g}]" if self.high < float("inf") else "inf)"
        return f"{left}, {right}"
