"""Find the pairs of layers that have the same states at every token."""

import numpy as np
import torch
from jaxtyping import Bool, Float

__all__ = ["EqualLayers"]


class EqualLayers:
    """The pairs of layers that have been equal so far, value by value.

    Parameters
    ----------
    layers
        Number of layers of each capture.

    Attributes
    ----------
    equal
        Whether two layers have been equal at every token; true for all pairs before the first token.
    """

    def __init__(self, layers: list[int]) -> None:
        self.alone = len(layers) == 1
        self.equal: Bool[np.ndarray, "layer layer_other"] = np.ones((layers[0], layers[-1]), bool)

    def update(self, states: list[Float[torch.Tensor, "token _layer _feature"]]) -> None:
        """Compare the states of some tokens in each capture."""
        first, second = states[0], states[-1]
        if first.shape[2] != second.shape[2]:
            self.equal[:] = False
        pairs = np.argwhere(np.triu(self.equal, 1) if self.alone else self.equal)
        if not len(first) or not len(pairs):
            return
        one, two = torch.from_numpy(pairs.T)
        alike = (first[0, one] == second[0, two]).all(1).numpy()  # the first token excludes nearly all pairs
        for number in np.flatnonzero(alike):
            layer, other = pairs[number].tolist()
            alike[number] = torch.equal(first[:, layer], second[:, other])
        differ = pairs[~alike].T
        self.equal[differ[0], differ[1]] = False
        if self.alone:
            self.equal[differ[1], differ[0]] = False

    def merge(self, part: "EqualLayers") -> None:
        """Keep only the pairs that are equal at the tokens of another accumulator too."""
        self.equal &= part.equal
