"""Which layers have the same states at every token.

This module knows arrays of states; it knows no measure and no labels.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float

__all__ = ["EqualLayers"]


class EqualLayers:
    """The pairs of layers that have been equal so far, value by value.

    Parameters
    ----------
    layers
        How many there are; of the second capture too, where there is one.

    Attributes
    ----------
    equal
        Before any token, all pairs are.
    """

    def __init__(self, layers: list[int]) -> None:
        self.alone = len(layers) == 1
        self.equal: Bool[np.ndarray, "layer layer_other"] = np.ones((layers[0], layers[-1]), bool)

    def update(self, states: list[Float[torch.Tensor, "token _layer _feature"]]) -> None:
        """Take some tokens' states, of each capture."""
        first, second = states[0], states[-1]
        if first.shape[2] != second.shape[2]:
            self.equal[:] = False
        pairs = np.argwhere(np.triu(self.equal, 1) if self.alone else self.equal)
        if not len(first) or not len(pairs):
            return
        one, two = torch.from_numpy(pairs.T)
        alike = (first[0, one] == second[0, two]).all(1).numpy()  # one token rules nearly all pairs out
        for number in np.flatnonzero(alike):
            layer, other = pairs[number].tolist()
            alike[number] = torch.equal(first[:, layer], second[:, other])
        differ = pairs[~alike].T
        self.equal[differ[0], differ[1]] = False
        if self.alone:
            self.equal[differ[1], differ[0]] = False

    def merge(self, part: "EqualLayers") -> None:
        """Keep the pairs that are equal in another's tokens too."""
        self.equal &= part.equal
