"""Base class of the measures of pairs of layers that need the tokens: prepare each layer, then compare each pair."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np
from jaxtyping import Float, Int

from layerscope.measures.comparisons.all_pairs import all_pairs
from layerscope.measures.comparisons.token_sample import TokenSample, map_layers
from layerscope.measures.context import EXACT_TOKENS, AnalysisContext
from layerscope.measures.estimate import Details
from layerscope.measures.record import Measure

__all__ = ["Comparison", "Pairs"]

Matrix = Float[np.ndarray, "layer layer_other"]
Matrices = Float[np.ndarray, "replicate layer layer_other"]

_Prepared = TypeVar("_Prepared")


class Comparison(ABC):
    """The method that computes the matrix of a measure from a sample of tokens.

    Parameters
    ----------
    description
        Description of the method, for the attributes.
    settings
        Fixed numbers of the method, for the attributes.
    """

    prepare: Callable[..., Any] | None = None
    """Function that prepares a layer or all layers; its result is cached for other measures with the same function."""

    def __init__(self, description: str, **settings: int | float | str) -> None:
        self.description = description
        self.settings = settings

    def most_tokens(self, context: AnalysisContext) -> int:
        """Return the largest number of tokens that fits into the memory."""
        return EXACT_TOKENS

    def details(self, tokens: TokenSample) -> Details:
        """Return the settings that were used on these tokens, for the attributes."""
        return dict(self.settings)

    @abstractmethod
    def matrix(self, held: TokenSample, measure: Measure) -> Matrix:
        """Compare all pairs of layers."""

    def halves(
        self,
        held: TokenSample,
        measure: Measure,
        group: Int[np.ndarray, " token"],
        masks: Float[np.ndarray, "replicate group"],
    ) -> Matrices:
        """Compare all pairs of layers on the tokens of the groups in each mask."""
        return np.stack([self.matrix(held.select(np.flatnonzero(mask[group])), measure) for mask in masks])


class Pairs(Comparison, Generic[_Prepared]):
    """A function of one layer, and a function of two prepared layers that returns a number.

    Parameters
    ----------
    prepare
        Function of a layer's states ``[token, feature]`` and their precision.
    compare
        Function of two prepared layers.
    check
        Function of a prepared layer and the number of different tokens. It raises `Undefined`, or returns the layer, changed
        for this measure if needed.
    most
        Maximum number of tokens.
    description, settings
        See `Comparison`.
    """

    def __init__(
        self,
        prepare: Callable[..., _Prepared],
        compare: Callable[[_Prepared, _Prepared], float],
        description: str,
        *,
        check: Callable[..., _Prepared] | None = None,
        most: int = EXACT_TOKENS,
        **settings: int | float | str,
    ) -> None:
        super().__init__(description, **settings)
        self.prepare = self._of_layer = prepare
        self.compare = compare
        self.check = check
        self.most = most

    def most_tokens(self, context: AnalysisContext) -> int:
        """See `Comparison`."""
        return self.most

    def matrix(self, held: TokenSample, measure: Measure) -> Matrix:
        """See `Comparison`."""
        prepared = held.each(self._of_layer)
        if self.check is not None:
            check = partial(self.check, different=len(held.distinct))
            prepared = [map_layers(axis, side, check) for axis, side in zip(held.axes, prepared, strict=True)]
        first, second = prepared[0], prepared[-1]
        return all_pairs(
            held.shape,
            lambda layer, other: self.compare(first[layer], second[other]),
            measure.self_value if held.alone else None,
            symmetric=measure.symmetric,
        )
