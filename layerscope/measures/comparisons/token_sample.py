"""The tokens of a comparison, and a cache of the prepared layers."""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int

from layerscope.measures.context import Axis
from layerscope.measures.kernels.rounding import identical_rows
from layerscope.threads import thread_pool

__all__ = ["TokenSample", "map_layers"]

_Layer = TypeVar("_Layer")
_Prepared = TypeVar("_Prepared")


class TokenSample:
    """The states of some tokens, of one capture or of two.

    Parameters
    ----------
    sides
        The states of each capture.
    axes
        Their layers.
    precision
        Machine epsilon of the states.
    sequence_index
        The sequence that each token belongs to.
    """

    def __init__(
        self,
        sides: Sequence[Float[torch.Tensor, "token _layer _feature"]],
        axes: Sequence[Axis],
        precision: float,
        sequence_index: Int[np.ndarray, " token"],
    ) -> None:
        self.sides = sides
        self.axes = axes
        self.precision = precision
        self.sequence_index = sequence_index
        self._prepared: dict[Callable[..., Any], Any] = {}

    def __len__(self) -> int:
        return len(self.sides[0])

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Number of layers on each side of a matrix."""
        return len(self.axes[0]), len(self.axes[-1])

    @property
    def alone(self) -> bool:
        """Whether the layers of one capture are compared with each other."""
        return len(self.sides) == 1

    @cached_property
    def distinct(self) -> "TokenSample":
        """The tokens without those that equal an earlier token at every layer."""
        first = np.stack([identical_rows(states.flatten(1)) for states in self.sides], axis=1)
        rows = np.sort(np.unique(first, axis=0, return_index=True)[1])
        return self if len(rows) == len(self) else self.select(rows)

    def select(self, rows: Int[np.ndarray, " chosen"]) -> "TokenSample":
        """Return some of the tokens, with an empty cache."""
        chosen = torch.from_numpy(rows)
        sides = [states[chosen] for states in self.sides]
        return TokenSample(sides, self.axes, self.precision, self.sequence_index[rows])

    def once(self, prepare: Callable[["TokenSample"], _Prepared]) -> _Prepared:
        """Call a function with all tokens, or return its cached result."""
        if prepare not in self._prepared:
            self._prepared[prepare] = prepare(self)
        prepared: _Prepared = self._prepared[prepare]
        return prepared

    def each(
        self, prepare: Callable[[Float[torch.Tensor, "token feature"], float], _Prepared]
    ) -> list[list[_Prepared]]:
        """Call a function with the states of each layer and their precision, or return its cached results.

        Raises
        ------
        Undefined
            The function raised it; the name of the layer is added.
        """
        if prepare not in self._prepared:
            self._prepared[prepare] = [
                map_layers(axis, states.unbind(1), lambda layer: prepare(layer, self.precision))
                for axis, states in zip(self.axes, self.sides, strict=True)
            ]
        prepared: list[list[_Prepared]] = self._prepared[prepare]
        return prepared

    def keep(self, prepares: Iterable[Callable[..., Any] | None]) -> None:
        """Free all cached results except those of these functions."""
        kept = set(prepares)
        self._prepared = {prepare: value for prepare, value in self._prepared.items() if prepare in kept}


def map_layers(axis: Axis, layers: Iterable[_Layer], compute: Callable[[_Layer], _Prepared]) -> list[_Prepared]:
    """Call a function with an object of each layer of an axis, with the layers shared among threads.

    Raises
    ------
    Undefined
        The function raised it; the name of the layer is added.
    """

    def of_layer(numbered: tuple[int, _Layer]) -> _Prepared:
        with axis.layer_context(numbered[0]):
            return compute(numbered[1])

    return thread_pool().map(of_layer, enumerate(layers))
